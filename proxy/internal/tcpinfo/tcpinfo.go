// Package tcpinfo asks the system what its TCP knows of a connection: round trips,
// windows, what was sent again. It looks when it is asked to and knows no tunnel and no
// clock; whoever calls it decides how often. Only Linux tells.
package tcpinfo
