// Preloaded into relays that would listen on every interface: they listen on loopback.
'use strict';
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
	const bare = (typeof port === 'number' || typeof port === 'string') && typeof rest[0] !== 'string';
	return bare ? listen.call(this, port, '127.0.0.1', ...rest) : listen.call(this, port, ...rest);
};
