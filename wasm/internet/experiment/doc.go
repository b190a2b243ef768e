// Package experiment runs a plan in the lab: it builds the hosts and the links
// that the plan asks for, starts the mail servers, lets protocol/session talk to
// them, and writes what happens below and behind the session into its trace:
// packets, the states of TCP, the dialogues between mail servers, deliveries.
//
// It is driven one event of the lab at a time and knows no page: whoever drives
// decides how fast time goes. It adds nothing to what the hosts do; how TCP, DNS
// and mail servers work is for wasm/internet and wasm/internet/mail to know.
package experiment
