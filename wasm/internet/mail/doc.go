// Package mail is the mail servers of the lab: hosts that speak SMTP, keep
// mailboxes, queue what is for others and send it on, with the retries and the
// bounces of RFC 5321.
//
// Its servers are settings of one program, not programs of their own: a
// recipients' server, a submission server, a relay of the early internet and a
// server with quirks differ in what their administrator would configure. The
// receiving side is go-smtp; the sending side is protocol/session, so that a
// dialogue between two servers is traced like that of the page.
//
// The package knows hosts, names and the protocols of mail. It refuses to know
// plans and their forms, the page, and how a trace is stored: what becomes of
// messages goes to Config.Event, and what servers say to each other to the sinks
// that Config.Hop hands out.
//
// All its waiting is done by calls of the lab, on the lab's clock. So a lab that
// stands still stops the mail too, two labs with one seed handle it alike, and
// when the lab is closed every goroutine of this package ends. Nothing here waits
// for the lab while it holds a lock.
package mail
