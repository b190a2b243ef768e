// Compresses files. Standard input is a JSON array of {in, out, format: "br" | "gz", quality}.

import { readFile, writeFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const formats = {
  br: (bytes, quality) =>
    promisify(brotliCompress)(bytes, {
      params: { [constants.BROTLI_PARAM_QUALITY]: quality, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
    }),
  gz: (bytes, quality) => promisify(gzip)(bytes, { level: quality }),
};

const jobs = JSON.parse(await buffer(process.stdin));
await Promise.all(
  jobs.map(async ({ in: source, out, format, quality }) => {
    await writeFile(out, await formats[format](await readFile(source), quality));
  }),
);
