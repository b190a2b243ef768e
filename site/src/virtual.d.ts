// Modules that the build makes.

declare module "virtual:transitions" {
  import type { Transition } from "./states.ts";
  const transitions: Transition[];
  export default transitions;
}

declare module "virtual:book" {
  import type { Entry } from "./book.ts";
  const book: Record<string, Entry>;
  export default book;
}

/** Hashed names, relative to the folder that holds index.html. */
declare module "virtual:assets" {
  export const worker: string;
  export const live: string;
  export const lab: string;
  export const desk: string;
  export const roots: string;
}

/** Go's wasm_exec.js: defines globalThis.Go, and globalThis.fs where there is none. */
declare module "virtual:wasm_exec" {}

declare module "*.css" {}
