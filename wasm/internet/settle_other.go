//go:build !js

package internet

func settle() (wait, release func()) { return nil, nil }
