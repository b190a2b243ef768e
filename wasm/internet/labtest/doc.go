// Package labtest lets tests run a lab: natively in a testing/synctest bubble, as
// wasm/internet asks for, and in WASM as in a page.
package labtest
