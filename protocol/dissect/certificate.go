package dissect

import (
	"fmt"

	"smtpscope/protocol/smtp"
)

// DER tags (ITU-T X.690, 8.1.2) of what a certificate is made of.
const (
	derOID      = 0x06
	derUTCTime  = 0x17
	derTime     = 0x18 // GeneralizedTime
	derSequence = 0x30
	derSet      = 0x31
)

// certificate takes apart an entry of a chain: the length, and X.509 in DER (RFC 5280, 4.1).
func (c *cutter) certificate(end int) {
	outer := c.end
	c.end = end
	whole := len(c.fields)
	c.group(1, end, "certificate", "field.certificate", "")
	c.length(2, 3, end-c.pos-3)
	if c.open(2, "Certificate", end) {
		if tbs, ok := c.element(); ok && c.b[c.pos] == derSequence {
			c.group(2, tbs, "tbsCertificate", "field.tbs-certificate", "")
			c.open(3, "TBSCertificate", tbs)
			c.fields[whole].Value = c.tbsCertificate(tbs)
			c.elementLeaf(2, "signatureAlgorithm", "field.signature-algorithm", "")
			c.elementLeaf(2, "signatureValue", "field.signature", "")
		}
	}
	c.leaf(2, end, "DER", "field.rest", byteCount(end-c.pos))
	c.end = outer
}

// tbsCertificate takes apart the part that is signed, and returns whose certificate it is.
func (c *cutter) tbsCertificate(end int) (subject string) {
	outer := c.end
	c.end = end
	if _, ok := c.element(); ok && c.b[c.pos] == 0xa0 { // [0], absent in version 1
		c.elementLeaf(3, "version", "field.certificate-version", "")
	}
	c.elementLeaf(3, "serialNumber", "field.serial-number", "")
	c.elementLeaf(3, "signature", "field.signature-algorithm", "")
	c.elementLeaf(3, "issuer", "field.issuer", commonName(c.text()))
	c.elementLeaf(3, "validity", "field.validity", validity(c.text()))
	subject = commonName(c.text())
	c.elementLeaf(3, "subject", "field.subject", subject)
	c.elementLeaf(3, "subjectPublicKeyInfo", "field.public-key", "")
	if _, ok := c.element(); ok && c.b[c.pos] == 0xa3 { // [3]; [1] and [2] are out of use
		c.elementLeaf(3, "extensions", "field.certificate-extensions", "")
	}
	c.leaf(3, end, "DER", "field.rest", byteCount(end-c.pos))
	c.end = outer
	return subject
}

// open steps over the tag and the length of a sequence that reaches to end.
func (c *cutter) open(depth int, name string, end int) bool {
	b := c.text()
	tag, inside, rest, ok := der(b)
	if !ok || tag != derSequence || c.end-len(rest) != end {
		return false
	}
	c.leaf(depth, end-len(inside), "tag and length", "field.der-header", name)
	return true
}

// element is where the element at pos ends.
func (c *cutter) element() (end int, ok bool) {
	_, _, rest, ok := der(c.text())
	return c.end - len(rest), ok
}

// elementLeaf notes the element at pos, if there is one.
func (c *cutter) elementLeaf(depth int, name, id, value string) {
	if end, ok := c.element(); ok {
		c.leaf(depth, end, name, id, value)
	}
}

// der reads the element that b begins with.
func der(b []byte) (tag byte, inside, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		size := n - 0x80
		if size == 0 || size > 3 || len(b) < 2+size {
			return 0, nil, nil, false
		}
		n = 0
		for _, digit := range b[2 : 2+size] {
			n = n<<8 | int(digit)
		}
		head += size
	}
	if head+n > len(b) {
		return 0, nil, nil, false
	}
	return b[0], b[head : head+n], b[head+n:], true
}

// commonName is the common name of the Name that b begins with, else its
// organization, else "" (RFC 5280, 4.1.2.4).
func commonName(b []byte) (name string) {
	const commonName, organization = "\x55\x04\x03", "\x55\x04\x0a"
	tag, names, _, _ := der(b)
	for tag == derSequence && len(names) > 0 {
		set, attributes, rest, ok := der(names)
		if !ok || set != derSet {
			break
		}
		names = rest
		_, attribute, _, _ := der(attributes)
		kind, oid, value, ok := der(attribute)
		if !ok || kind != derOID || string(oid) != commonName && string(oid) != organization {
			continue
		}
		if _, text, _, ok := der(value); ok && (name == "" || string(oid) == commonName) {
			name = smtp.Escape(string(text))
		}
	}
	return name
}

// validity is "2026-01-01 to 2026-04-01" for the Validity that b begins with, or "".
func validity(b []byte) string {
	_, dates, _, _ := der(b)
	_, _, rest, _ := der(dates)
	from, to := day(dates), day(rest)
	if from == "" || to == "" {
		return ""
	}
	return from + " to " + to
}

// day is that of the Time that b begins with (RFC 5280, 4.1.2.5).
func day(b []byte) string {
	tag, digits, _, _ := der(b)
	if len(digits) < 8 {
		return ""
	}
	switch tag {
	case derUTCTime:
		century := "20"
		if digits[0] >= '5' {
			century = "19"
		}
		digits = append([]byte(century), digits...)
	case derTime:
	default:
		return ""
	}
	return smtp.Escape(fmt.Sprintf("%s-%s-%s", digits[:4], digits[4:6], digits[6:8]))
}
