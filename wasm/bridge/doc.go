// Package bridge carries messages between Go and the page, from inside a Worker:
// the page's calls come in, events go out. It knows the form of messages, not
// what they mean.
package bridge
