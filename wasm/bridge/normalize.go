//go:build js && wasm

package bridge

import "syscall/js"

// NFKC is normalisation form KC of Unicode. The page's engine knows it anyway, and its
// tables are large.
func NFKC(s string) string {
	return js.Global().Get("String").Get("prototype").Get("normalize").Call("call", s, "NFKC").String()
}
