//go:build js && wasm

// Command desk is what runs in the page's Worker when somebody exports a session or
// composes a message. It is thin: it reads what the page asks and hands it on. It
// runs no sessions and opens no connections.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"syscall/js"

	"smtpscope/protocol/compose"
	"smtpscope/protocol/export"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/bridge"
)

func main() {
	bridge.Listen(func(m bridge.Message) {
		if m.Type() != "ask" {
			panic("the page sent a message of the unknown type " + m.Type())
		}
		go answer(m.Text("id"), m.Text("what"), []byte(m.Text("input")), m.Files())
	})
	select {}
}

// answer posts what was asked for, or what is wrong.
func answer(id, what string, input []byte, files [][]byte) {
	var value any
	var err error
	switch what {
	case "export":
		value, err = exported(input)
	case "compose":
		value, err = composed(input, files)
	default:
		panic("the page asked for an unknown " + what)
	}
	if err != nil {
		bridge.Post("answer", map[string]any{"id": id, "problem": err.Error()})
		return
	}
	bridge.Post("answer", map[string]any{"id": id, "value": value})
}

func exported(input []byte) (any, error) {
	var in struct {
		Format  export.Format   `json:"format"`
		Trace   json.RawMessage `json:"trace"`
		Host    string          `json:"host"`
		Secrets bool            `json:"secrets"`
		Keys    string          `json:"keys"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	t, err := trace.Decode(in.Trace)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := export.Write(&out, t, export.Request{Format: in.Format, Host: in.Host, Secrets: in.Secrets, Keys: []byte(in.Keys)}); err != nil {
		return nil, err
	}
	b := js.Global().Get("Uint8Array").New(out.Len())
	js.CopyBytesToJS(b, out.Bytes())
	return b, nil
}

// composed writes a message. The files are the contents of the attachments, in order.
func composed(input []byte, files [][]byte) (any, error) {
	var draft compose.Draft
	if err := json.Unmarshal(input, &draft); err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	if len(files) != len(draft.Attachments) {
		return nil, fmt.Errorf("compose: %d attachments came with %d files", len(draft.Attachments), len(files))
	}
	for i := range files {
		draft.Attachments[i].Data = files[i]
	}
	m, err := compose.Compose(draft)
	if err != nil {
		return nil, err
	}
	alternatives := map[string]any{}
	if m.Alternatives.EightBit != "" {
		alternatives["8bitmime"] = m.Alternatives.EightBit
	}
	if m.Alternatives.Binary != "" {
		alternatives["binarymime"] = m.Alternatives.Binary
	}
	return map[string]any{"data": m.Data, "alternatives": alternatives}, nil
}
