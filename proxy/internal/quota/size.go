package quota

import (
	"errors"
	"strconv"
	"strings"
)

// Size is a number of bytes that people write and read: "500kB", "1MB", "64KiB".
type Size int64

var units = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// ParseSize reads a whole number with or without a unit.
func ParseSize(text string) (Size, error) {
	for _, u := range units {
		digits, found := strings.CutSuffix(text, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > (1<<63-1)/u.bytes {
			break
		}
		return Size(int64(n) * u.bytes), nil
	}
	return 0, errors.New("write a whole number of bytes, as in 500kB, 1MB or 64KiB")
}

// String is the shortest form that ParseSize reads.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10) + "B"
	for _, u := range units {
		if u.name == "" || s == 0 || int64(s)%u.bytes != 0 {
			continue
		}
		if text := strconv.FormatInt(int64(s)/u.bytes, 10) + u.name; len(text) < len(best) {
			best = text
		}
	}
	return best
}

// Set makes *Size a flag.Value.
func (s *Size) Set(text string) error {
	n, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = n
	return nil
}
