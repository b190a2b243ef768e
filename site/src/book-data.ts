// The book itself, apart from book.ts because it is large and only needed once there is a session.

import book from "virtual:book";
import { openBook } from "./book.ts";

openBook(book);
