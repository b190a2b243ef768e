package dissect

// numbered is a name as an RFC or a registry of IANA gives it. Tables of them are
// short, and as slices they are data; maps would be code that fills them.
type numbered struct {
	number uint16
	name   string
}

func nameOf(list []numbered, number uint16) (name string, known bool) {
	for _, n := range list {
		if n.number == number {
			return n.name, true
		}
	}
	return "", false
}

var recordTypes = []numbered{
	{20, "change_cipher_spec"},
	{21, "alert"},
	{22, "handshake"},
	{23, "application_data"},
}

// handshakeTypes are the messages that are ever seen unencrypted.
var handshakeTypes = []numbered{
	{1, "client_hello"},
	{2, "server_hello"},
	{4, "new_session_ticket"},
	{11, "certificate"},
	{12, "server_key_exchange"},
	{13, "certificate_request"},
	{14, "server_hello_done"},
	{15, "certificate_verify"},
	{16, "client_key_exchange"},
	{22, "certificate_status"},
}

// sealedTypes are those that TLS 1.3 always encrypts (RFC 8446, 4; RFC 8879, 4).
var sealedTypes = []numbered{
	{8, "encrypted_extensions"},
	{20, "finished"},
	{25, "compressed_certificate"},
}

var alerts = []numbered{
	{0, "close_notify"},
	{10, "unexpected_message"},
	{20, "bad_record_mac"},
	{22, "record_overflow"},
	{40, "handshake_failure"},
	{42, "bad_certificate"},
	{43, "unsupported_certificate"},
	{44, "certificate_revoked"},
	{45, "certificate_expired"},
	{46, "certificate_unknown"},
	{47, "illegal_parameter"},
	{48, "unknown_ca"},
	{49, "access_denied"},
	{50, "decode_error"},
	{51, "decrypt_error"},
	{70, "protocol_version"},
	{71, "insufficient_security"},
	{80, "internal_error"},
	{86, "inappropriate_fallback"},
	{90, "user_canceled"},
	{100, "no_renegotiation"},
	{109, "missing_extension"},
	{110, "unsupported_extension"},
	{112, "unrecognized_name"},
	{113, "bad_certificate_status_response"},
	{115, "unknown_psk_identity"},
	{116, "certificate_required"},
	{120, "no_application_protocol"},
}

var versions = []numbered{
	{0x0301, "TLS 1.0"},
	{0x0302, "TLS 1.1"},
	{0x0303, "TLS 1.2"},
	{0x0304, "TLS 1.3"},
}

var suites = []numbered{
	{0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
	{0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"},
	{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"},
	{0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"},
	{0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"},
	{0x1301, "TLS_AES_128_GCM_SHA256"},
	{0x1302, "TLS_AES_256_GCM_SHA384"},
	{0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
	{0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
	{0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"},
	{0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
	{0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"},
	{0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
	{0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
	{0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
	{0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
	{0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
	{0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
}

var groups = []numbered{
	{23, "secp256r1"},
	{24, "secp384r1"},
	{25, "secp521r1"},
	{29, "X25519"},
	{30, "X448"},
	{256, "ffdhe2048"},
	{0x11eb, "SecP256r1MLKEM768"},
	{0x11ec, "X25519MLKEM768"},
	{0x11ed, "SecP384r1MLKEM1024"},
}

var signatureSchemes = []numbered{
	{0x0201, "rsa_pkcs1_sha1"},
	{0x0203, "ecdsa_sha1"},
	{0x0401, "rsa_pkcs1_sha256"},
	{0x0403, "ecdsa_secp256r1_sha256"},
	{0x0501, "rsa_pkcs1_sha384"},
	{0x0503, "ecdsa_secp384r1_sha384"},
	{0x0601, "rsa_pkcs1_sha512"},
	{0x0603, "ecdsa_secp521r1_sha512"},
	{0x0804, "rsa_pss_rsae_sha256"},
	{0x0805, "rsa_pss_rsae_sha384"},
	{0x0806, "rsa_pss_rsae_sha512"},
	{0x0807, "ed25519"},
	{0x0808, "ed448"},
	{0x0809, "rsa_pss_pss_sha256"},
	{0x080a, "rsa_pss_pss_sha384"},
	{0x080b, "rsa_pss_pss_sha512"},
}

var pointFormats = []numbered{{0, "uncompressed"}}

var pskModes = []numbered{
	{0, "psk_ke"},
	{1, "psk_dhe_ke"},
}

var extensionTypes = []numbered{
	{0, "server_name"},
	{5, "status_request"},
	{10, "supported_groups"},
	{11, "ec_point_formats"},
	{13, "signature_algorithms"},
	{16, "application_layer_protocol_negotiation"},
	{18, "signed_certificate_timestamp"},
	{21, "padding"},
	{22, "encrypt_then_mac"},
	{23, "extended_master_secret"},
	{28, "record_size_limit"},
	{35, "session_ticket"},
	{41, "pre_shared_key"},
	{42, "early_data"},
	{43, "supported_versions"},
	{44, "cookie"},
	{45, "psk_key_exchange_modes"},
	{50, "signature_algorithms_cert"},
	{51, "key_share"},
	{0xfe0d, "encrypted_client_hello"},
	{0xff01, "renegotiation_info"},
}

var retryRandom = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}
