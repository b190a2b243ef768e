package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decode fills v from JSON and is stricter than encoding/json: keys are matched
// exactly, unknown ones are refused, null is no value, and every error names the
// key with its path ("messages[0].to[1]").
func decode(path string, raw json.RawMessage, v reflect.Value) error {
	wrong := func(want string) error {
		return fmt.Errorf("%s: want %s, got %s", path, want, describe(raw))
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decode(path, raw, v.Elem())
	case reflect.Struct:
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(raw, &keys); err != nil || keys == nil {
			return wrong("an object")
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			at := strings.TrimPrefix(path+"."+key, "plan.")
			f, ok := field(v, key)
			if !ok {
				return fmt.Errorf("%s: unknown key; known here are %s", at, strings.Join(known(v.Type()), ", "))
			}
			if err := decode(at, keys[key], f); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil || items == nil {
			return wrong("a list")
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			if err := decode(fmt.Sprintf("%s[%d]", path, i), item, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.String:
		var s *string
		if err := json.Unmarshal(raw, &s); err != nil || s == nil {
			return wrong("a text")
		}
		v.SetString(*s)
	case reflect.Bool:
		var b *bool
		if err := json.Unmarshal(raw, &b); err != nil || b == nil {
			return wrong("true or false")
		}
		v.SetBool(*b)
	case reflect.Int, reflect.Int64:
		var n *int64
		if err := json.Unmarshal(raw, &n); err != nil || n == nil {
			return wrong("a whole number")
		}
		v.SetInt(*n)
	case reflect.Float64:
		var n *float64
		if err := json.Unmarshal(raw, &n); err != nil || n == nil {
			return wrong("a number")
		}
		v.SetFloat(*n)
	default:
		panic("session: decode does not know " + v.Type().String())
	}
	return nil
}

func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if name(v.Type().Field(i)) == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func known(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, name(t.Field(i)))
	}
	return names
}

func name(f reflect.StructField) string {
	n, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return n
}

func describe(raw json.RawMessage) string {
	s := strings.TrimSpace(string(raw))
	switch {
	case s == "":
		return "nothing"
	case s[0] == '"':
		return "a text"
	case s[0] == '{':
		return "an object"
	case s[0] == '[':
		return "a list"
	case len(s) > 40:
		return s[:40] + "…"
	}
	return s
}
