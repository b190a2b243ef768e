//go:build !linux

package relay

// unacknowledged is how many bytes the page's system has not confirmed yet.
func (s *socket) unacknowledged() int { return 0 }
