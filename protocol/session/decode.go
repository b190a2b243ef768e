package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// decode fills v from JSON and is stricter than encoding/json: keys are matched
// exactly, each comes once, unknown ones are refused, null is no value, and every
// error names the key with its path ("messages[0].to[1]"). It reads what may hold
// long messages once.
func decode(raw []byte, v any) error {
	d := decoder{json.NewDecoder(bytes.NewReader(raw))}
	d.UseNumber()
	err := d.value("plan", reflect.ValueOf(v).Elem())
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
	}
	// A decoder stops at the first offence, so what follows may be no JSON at all,
	// and that is what its author has to mend first.
	if syntax := json.Unmarshal(raw, new(json.RawMessage)); syntax != nil {
		return fmt.Errorf("It is not JSON: %w", syntax)
	}
	return err
}

type decoder struct{ *json.Decoder }

// value reads the next value into v.
func (d decoder) value(path string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(path, v.Elem())
	}
	token, err := d.Token()
	if err != nil {
		return err
	}
	wrong := func(want string) error {
		return fmt.Errorf("%s: want %s, got %s", path, want, describe(token))
	}
	switch v.Kind() {
	case reflect.Struct:
		if token != json.Delim('{') {
			return wrong("an object")
		}
		return d.object(path, v)
	case reflect.Slice:
		if token != json.Delim('[') {
			return wrong("a list")
		}
		return d.list(path, v)
	case reflect.Map:
		if token != json.Delim('{') {
			return wrong("an object")
		}
		return d.texts(path, v)
	case reflect.String:
		s, ok := token.(string)
		if !ok {
			return wrong("a text")
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := token.(bool)
		if !ok {
			return wrong("true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		number, _ := token.(json.Number)
		n, err := number.Int64()
		if err != nil {
			return wrong("a whole number")
		}
		v.SetInt(n)
	case reflect.Float64:
		number, _ := token.(json.Number)
		n, err := number.Float64()
		if err != nil {
			return wrong("a number")
		}
		v.SetFloat(n)
	default:
		panic("session: decode does not know " + v.Type().String())
	}
	return nil
}

// object reads what follows an opening brace.
func (d decoder) object(path string, v reflect.Value) error {
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key := token.(string)
		at := strings.TrimPrefix(path+"."+key, "plan.")
		f, ok := field(v, key)
		switch {
		case !ok:
			return fmt.Errorf("%s: unknown key; known here are %s", at, strings.Join(known(v.Type()), ", "))
		case seen[key]:
			return fmt.Errorf("%s: the key comes twice; say it once", at)
		}
		seen[key] = true
		if err := d.value(at, f); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// texts reads what follows the opening brace of an object whose keys are not known.
func (d decoder) texts(path string, v reflect.Value) error {
	texts := map[string]string{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, text := token.(string), ""
		if _, twice := texts[key]; twice {
			return fmt.Errorf("%s.%s: the key comes twice; say it once", path, key)
		}
		if err := d.value(path+"."+key, reflect.ValueOf(&text).Elem()); err != nil {
			return err
		}
		texts[key] = text
	}
	v.Set(reflect.ValueOf(texts))
	_, err := d.Token()
	return err
}

// list reads what follows an opening bracket.
func (d decoder) list(path string, v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for d.More() {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(fmt.Sprintf("%s[%d]", path, v.Len()), item); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
	}
	_, err := d.Token()
	return err
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

func describe(token json.Token) string {
	switch token {
	case nil:
		return "null"
	case json.Delim('{'):
		return "an object"
	case json.Delim('['):
		return "a list"
	}
	if _, ok := token.(string); ok {
		return "a text"
	}
	s := fmt.Sprint(token)
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
