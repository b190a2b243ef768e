package tunnel

// Plan 9 reports network errors as text only: DialError quotes it.
var errnos []struct {
	err  error
	kind kind
}
