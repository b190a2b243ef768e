package smtp_test

import (
	"fmt"
	"log"

	"smtpscope/protocol/smtp"
)

// A driver moves bytes between the client and a connection. Here the server is a
// list of what it says.
func Example() {
	server := []string{
		"220 mx.example.net ready\r\n",
		"250-mx.example.net\r\n250 SIZE 1000000\r\n",
		"250 2.1.0 Ok\r\n",
		"250 2.1.5 Ok\r\n",
		"354 End with .\r\n",
		"250 2.0.0 Queued as 4F2C\r\n",
		"221 Bye\r\n",
	}
	text := []byte("Subject: hello\n\nA line,\n.and a line with a dot.\n")
	size := fmt.Sprintf("SIZE=%d", smtp.Measure(text).Size)
	mail, err := smtp.Mail("ada@example.org", size)
	if err != nil {
		log.Fatal(err)
	}
	rcpt, err := smtp.Rcpt("bob@example.net")
	if err != nil {
		log.Fatal(err)
	}
	ehlo, err := smtp.Ehlo("page.example")
	if err != nil {
		log.Fatal(err)
	}
	commands := []smtp.Command{ehlo, mail, rcpt, smtp.Data(), smtp.Message(text), smtp.Quit()}

	c := smtp.NewClient(smtp.Options{})
	for i, reply := range server {
		c.Receive([]byte(reply))
		if i < len(commands) {
			if _, err := c.Submit(commands[i]); err != nil {
				log.Fatal(err)
			}
		}
		for e := c.Next(); e != nil; e = c.Next() {
			switch e := e.(type) {
			case *smtp.Output:
				fmt.Printf("C: %q\n", e.Bytes)
			case *smtp.ReplyReceived:
				fmt.Println("S:", e.Reply.Code, e.Reply.EscapedLines())
			case smtp.Desync:
				log.Fatal(e.Reason)
			}
		}
	}
	c.ReceiveEOF()
	fmt.Println(c.State())
	// Output:
	// S: 220 [mx.example.net ready]
	// C: "EHLO page.example\r\n"
	// S: 250 [mx.example.net SIZE 1000000]
	// C: "MAIL FROM:<ada@example.org> SIZE=52\r\n"
	// S: 250 [2.1.0 Ok]
	// C: "RCPT TO:<bob@example.net>\r\n"
	// S: 250 [2.1.5 Ok]
	// C: "DATA\r\n"
	// S: 354 [End with .]
	// C: "Subject: hello\r\n\r\nA line,\r\n..and a line with a dot.\r\n.\r\n"
	// S: 250 [2.0.0 Queued as 4F2C]
	// C: "QUIT\r\n"
	// S: 221 [Bye]
	// closed
}

func ExampleNotLegalError() {
	c := smtp.NewClient(smtp.Options{})
	c.Receive([]byte("220 mx.example.net\r\n"))
	_, err := c.Submit(smtp.Data())
	fmt.Println(err)
	// Output: DATA cannot be sent in state "greeted"; legal now: EHLO, HELO, RSET, NOOP, HELP, VRFY, EXPN, QUIT
}
