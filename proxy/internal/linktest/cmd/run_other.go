//go:build !linux

package main

import "errors"

func run([]string) (int, error) {
	return unavailable, errors.New("network namespaces are made on Linux only")
}
