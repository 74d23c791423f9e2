/* IP socket addresses between text, the kernel's structures and the one form of the peer table. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

static void map_ipv4(const void *ipv4, struct nx_address *into)
{
	memset(into->ip, 0, 10);
	into->ip[10] = into->ip[11] = 0xff;
	memcpy(into->ip + 12, ipv4, 4);
}

bool nx_address_parse(const char *host, uint32_t udp_port, struct nx_address *into)
{
	char text[NX_HOST_BYTES];
	size_t length = strnlen(host, NX_HOST_BYTES);
	if (length == NX_HOST_BYTES || udp_port > 65535) return false;
	memcpy(text, host, length + 1);
	*into = (struct nx_address){.port = udp_port};
	struct in_addr ipv4;
	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		map_ipv4(&ipv4, into);
		return true;
	}
	char *zone = strchr(text, '%');
	if (zone != NULL) {
		*zone++ = '\0';
		into->scope = if_nametoindex(zone);
		if (into->scope == 0) into->scope = (uint32_t)strtoul(zone, NULL, 10);
		if (into->scope == 0) return false;
	}
	return inet_pton(AF_INET6, text, into->ip) == 1;
}

void nx_address_text(const struct nx_address *address, char host[NX_HOST_BYTES])
{
	if (nx_address_is_ipv4(address)) {
		inet_ntop(AF_INET, address->ip + 12, host, NX_HOST_BYTES);
		return;
	}
	inet_ntop(AF_INET6, address->ip, host, NX_HOST_BYTES);
	if (address->scope == 0) return;
	size_t length = strlen(host);
	char zone[IF_NAMESIZE];
	if (if_indextoname(address->scope, zone) != NULL)
		snprintf(host + length, NX_HOST_BYTES - length, "%%%s", zone);
	else snprintf(host + length, NX_HOST_BYTES - length, "%%%u", address->scope);
}

void nx_address_from(const struct sockaddr_storage *from, struct nx_address *into)
{
	*into = (struct nx_address){0};
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)from;
		map_ipv4(&ipv4->sin_addr, into);
		into->port = ntohs(ipv4->sin_port);
	} else if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)from;
		memcpy(into->ip, &ipv6->sin6_addr, 16);
		into->port = ntohs(ipv6->sin6_port);
		into->scope = ipv6->sin6_scope_id;
	}
}

socklen_t nx_address_to(const struct nx_address *address, int family, struct sockaddr_storage *to)
{
	if (family == AF_INET) {
		if (!nx_address_is_ipv4(address)) return 0;
		struct sockaddr_in *ipv4 = (struct sockaddr_in *)to;
		*ipv4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&ipv4->sin_addr, address->ip + 12, 4);
		ipv4->sin_port = htons((uint16_t)address->port);
		return sizeof *ipv4;
	}
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)to;
	*ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
	memcpy(&ipv6->sin6_addr, address->ip, 16);
	ipv6->sin6_port = htons((uint16_t)address->port);
	ipv6->sin6_scope_id = address->scope;
	return sizeof *ipv6;
}
