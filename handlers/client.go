package handlers

import (
	"net/http"
	"net/netip"
)

// ipv6Client is how many bits of an IPv6 address stand for one client: a
// subscriber is given a network of that size at the least, and changes
// addresses in it at will.
const ipv6Client = 64

// client names whom a request is counted under: the address as ClientIP has
// it, without port and zone, IPv4 never written as IPv6, and of IPv6 the network
// alone. It is "" where there is no address, as on a unix socket: who cannot be
// told apart is not counted.
func (h *Handler) client(r *http.Request) string {
	text := h.ClientIP(r)
	address, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return ""
		}
		address = withPort.Addr()
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(ipv6Client)
	if err != nil {
		return ""
	}
	return network.String()
}
