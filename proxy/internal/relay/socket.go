package relay

import (
	"context"
	"io"
	"net"
	"net/http"

	"nhooyr.io/websocket"

	"smtpscope/protocol/tunnel"
)

// socket is a page's WebSocket. No other file knows the library.
//
// The library gets a context that never ends: one that can end costs it time
// on every frame, and ends the whole connection when it does. kill serves instead.
type socket struct {
	ws   *websocket.Conn
	conn net.Conn // to close without ceremony: the library cannot be interrupted in its closing handshake
}

// accept answers the handshake, also when it fails. The library compares Origin with Host
// unless the origin has been judged.
func accept(w http.ResponseWriter, req *http.Request, originJudged bool) (*socket, error) {
	h := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(h, req, &websocket.AcceptOptions{
		Subprotocols:       []string{tunnel.Subprotocol},
		InsecureSkipVerify: originJudged,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	// A longer message is reported by line.take, which reads one byte more. The library
	// stops whoever goes on: its own Close frame would come before our ERROR.
	ws.SetReadLimit(2 * tunnel.MaxMessage)
	return &socket{ws: ws, conn: h.wire.Conn}, nil
}

// next waits for a message. It must be read to its end before the next one.
func (s *socket) next() (message io.Reader, binary bool, err error) {
	t, message, err := s.ws.Reader(context.Background())
	return message, t == websocket.MessageBinary, err
}

func (s *socket) write(message []byte) error {
	return s.ws.Write(context.Background(), websocket.MessageBinary, message)
}

// close runs the closing handshake. Another goroutine must go on reading
// messages meanwhile: unread input would make the system reset the connection, and the
// page could lose what was sent last.
func (s *socket) close(code tunnel.Code) {
	status := websocket.StatusNormalClosure
	switch code {
	case tunnel.CodeBadRequest, tunnel.CodeCredit, tunnel.CodeDenied:
		status = websocket.StatusPolicyViolation
	case tunnel.CodeShutdown:
		status = websocket.StatusGoingAway
	case tunnel.CodeTooMany, tunnel.CodeQuota:
		status = websocket.StatusTryAgainLater
	}
	_ = s.ws.Close(status, string(code))
}

// kill closes the connection at once; everybody who waits for it returns.
func (s *socket) kill() { _ = s.conn.Close() }

// free ends what the library keeps running.
func (s *socket) free() { _ = s.ws.CloseNow() }
