// Package internet is the lab: a small internet of real TCP/IP stacks (gVisor's
// netstack) joined by links with delay, bandwidth, loss, reordering, duplication,
// corruption and an MTU, on a virtual clock. The same configuration and seed
// give the same packets, byte for byte and nanosecond for nanosecond.
//
// It knows hosts, links, names and sockets. It refuses to know what is said over
// them: servers are functions that are handed a net.Listener, and the client is
// whoever calls Dial. It knows nothing of pages and of the trace either: packets
// and the state of TCP go to two functions in the Config.
//
// # How it runs
//
// One goroutine, the driver, calls Step or Run. Nothing happens between two
// steps, and a lab that nobody steps stands still, with all its deadlines.
//
// A step takes one event from the clock: a packet arrives, or a timer of TCP, a
// deadline or a sleep runs out. What it brings about in the stacks is worked off
// before anything else. Then the programs on the hosts run: every Read, Write,
// Accept, Dial, Close and SetDeadline of theirs is a call that the lab answers,
// in an order that does not depend on the scheduler, once all of them wait.
// Calls take no virtual time: the programs of the lab are infinitely fast, and
// its links are what is slow.
//
// So a program's result depends on the scheduler only as far as the program
// itself does, and in one case more: goroutines that do the same thing with the
// same socket at the same instant (two Reads of one connection, two Dials of one
// name and port from one host, two Sleeps of one length on one host) are answered
// in the order in which they happened to ask.
//
// "All of them wait" is what Config.Settle finds out. In js/wasm the package
// does it by itself: Go hands control back to JavaScript only when nothing can
// run. A program that waits for JavaScript (fetch, timers, files under Node.js) or
// for its user counts as waiting, so what it does then comes at whatever time the
// lab has got to. Natively only testing/synctest can tell: see Config.
package internet
