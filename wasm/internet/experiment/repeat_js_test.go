package experiment

// runs are as many as there is time for in WASM.
const runs = 2
