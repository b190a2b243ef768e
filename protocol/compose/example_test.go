package compose_test

import (
	"fmt"
	"strings"

	"smtpscope/protocol/compose"
)

func ExampleCompose() {
	m, err := compose.Compose(compose.Draft{
		From: "Ada Lovelace <ada@example.org>", To: []string{"grace@example.net"}, Subject: "Grüße vom Webstuhl",
		Text: "Wie der Webstuhl Blüten webt.", Date: "2026-11-23T10:00:00Z", ID: "1@example.org",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.ReplaceAll(m.Data, "\r\n", "\n"))
	// Output:
	// From: Ada Lovelace <ada@example.org>
	// To: grace@example.net
	// Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_vom_Webstuhl?=
	// Date: Mon, 23 Nov 2026 10:00:00 +0000
	// Message-ID: <1@example.org>
	// MIME-Version: 1.0
	// Content-Type: text/plain; charset=utf-8
	// Content-Transfer-Encoding: quoted-printable
	//
	// Wie der Webstuhl Bl=C3=BCten webt.
}
