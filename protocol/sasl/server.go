package sasl

import "github.com/emersion/go-sasl"

// Server is the other side of one exchange, for the servers that this project
// runs for practice and in its lab.
type Server = sasl.Server

// NewServer returns the server of PLAIN or LOGIN, nil for any other mechanism. Judge
// decides about what the client says; identity is whom it wants to act for, "" for
// the user itself. Malformed is the error of a response that has not the form that
// the mechanism asks for.
func NewServer(mechanism string, judge func(identity, username, password string) error, malformed error) Server {
	switch mechanism {
	case sasl.Plain:
		p := &plainServer{malformed: malformed}
		p.Server = sasl.NewPlainServer(func(identity, username, password string) error {
			p.judged = true
			return judge(identity, username, password)
		})
		return p
	case sasl.Login:
		return &loginServer{judge: judge}
	}
	return nil
}

// plainServer replaces go-sasl's own errors.
type plainServer struct {
	Server
	judged    bool
	malformed error
}

func (p *plainServer) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := p.Server.Next(response)
	if err != nil && !p.judged {
		err = p.malformed
	}
	return challenge, done, err
}

// loginServer is LOGIN, which has no RFC, only habit: two prompts, two answers; an
// initial response is the user name.
type loginServer struct {
	judge    func(identity, username, password string) error
	prompted bool
	username *string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !l.prompted:
		l.prompted = true
		return []byte("Username:"), false, nil
	case l.username == nil:
		username := string(response)
		l.username = &username
		return []byte("Password:"), false, nil
	}
	return nil, true, l.judge("", *l.username, string(response))
}
