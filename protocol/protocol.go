// Package protocol is the roof over the science of smtpscope: the packages below
// it speak, record and explain SMTP without sockets, browsers or a wall clock.
package protocol

// Version of smtpscope, semantic versioning.
const Version = "0.1.0"
