package realservers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// workspace is the folder of one server, with the certificate that it will show.
type workspace struct {
	dir string
	tls Identity
}

// Identity is a certificate for ServerName under an authority made for this run.
type Identity struct {
	CA   string // PEM
	Pair tls.Certificate

	certPEM, keyPEM []byte
	roots           *x509.CertPool
}

func newWorkspace(kind Kind) (*workspace, error) {
	id, err := NewIdentity()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "smtpscope-"+string(kind)+"-")
	if err != nil {
		return nil, err
	}
	// Servers that drop their privileges must still be able to reach what is theirs below.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	return &workspace{dir: dir, tls: id}, nil
}

func (w *workspace) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *workspace) write(name string, content []byte, mode fs.FileMode) error {
	path := w.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, mode)
}

// remove tries again for a while: a killed child of the server may still be creating its last file.
func (w *workspace) remove() error {
	return poll(stopTimeout, func() (bool, error) {
		err := os.RemoveAll(w.dir)
		return err == nil, err
	})
}

// NewIdentity makes an authority and has it sign a certificate.
func NewIdentity() (Identity, error) {
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "smtpscope test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: ServerName},
		DNSNames:     []string{ServerName},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return Identity{}, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return Identity{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		CA:      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})),
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		roots:   x509.NewCertPool(),
	}
	id.roots.AppendCertsFromPEM([]byte(id.CA))
	id.Pair, err = tls.X509KeyPair(id.certPEM, id.keyPEM)
	return id, err
}

// freePorts returns loopback ports that nothing listens on now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // only at the end, so that no port is handed out twice
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// poll calls done until it reports true or the time is up, and returns its last error.
func poll(limit time.Duration, done func() (bool, error)) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		}
	}
}
