/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * What C and Go share: the layout of every map's keys and values, and the
 * numbers with a meaning. Go's copy is generated from this file and compared
 * with the compiled object at load. A change of a layout, or of a meaning,
 * raises LAYOUT_VERSION, and with it the name of the pin directory.
 */

#include <linux/types.h>

enum { LAYOUT_VERSION = 4 };

/* An IPv6 address in network order. An IPv4 address is in the last four
 * bytes, the rest zero: like ::a.b.c.d, which is never routed, so that the
 * family need not be compared where it is already known. */
struct addr {
	union {
		__u8 byte[16];
		__be32 word[4];
		__u64 half[2];
	};
};

/* The reason for which a packet left the program; exactly one per packet.
 * The order is part of the layout: append only. */
enum reason {
	REASON_TX,                /* sent out of the interface it came in by */
	REASON_REDIRECT,          /* sent out of another interface */
	REASON_PASS_NOT_IP,       /* neither IPv4 nor IPv6 */
	REASON_PASS_NOT_VIP,      /* no frontend, no flow: not ours */
	REASON_PASS_TRUNCATED,    /* shorter than its headers say */
	REASON_PASS_FRAGMENT,     /* part of a fragmented datagram */
	REASON_PASS_EXTENSIONS,   /* too many IPv6 extension headers */
	REASON_PASS_NEIGHBOUR,    /* next hop's MAC unknown: TC resolves it */
	REASON_PASS_UNREACHABLE,  /* the route forbids it, or the interface does not forward */
	REASON_PASS_NO_ROUTE,     /* no route, or it leads to this host: the kernel says the same */
	REASON_PASS_MTU,          /* larger than the way out allows */
	REASON_PASS_TTL,          /* would expire here */
	REASON_PASS_VLAN,         /* tagged, and the way out is another interface */
	REASON_PASS_CHECKSUM,     /* IPv6 UDP without a checksum (RFC 8200 §8.1) */
	REASON_DROP_NO_BACKEND,   /* the service has no usable backend */
	REASON_DROP_NAT_PORTS,    /* no free source port towards the backend */
	REASON_DROP_CONTENDED,    /* another CPU is writing the flow's place */
	REASON_DROP_NO_FLOW,      /* a RST of a connection that is not known */
	REASON_DROP_NOT_ON_LINK,  /* l2dsr backend behind a router */
	REASON_DROP_NO_TUNNEL,    /* no outer source address of the backend's family */
	REASON_DROP_REWRITE,      /* the packet could not be changed */
	REASON_UPCALL,            /* neither passed nor dropped: the daemon has it, and injects it again */
	REASON_DROP_POLICY,       /* the service's policies said so */
	REASON_DROP_OVERLOAD,     /* nobody could be asked, and the service drops then */
	REASON_DROP_REFUSAL,      /* a backend's RST to a SYN that another backend may still take */
	/* What a service refuses; these five are counted for each service, see struct refused. */
	REASON_DROP_DENIED,       /* the source is on the deny list */
	REASON_DROP_NOT_ALLOWED,  /* there is an allow list, and the source is not on it */
	REASON_DROP_RATE,         /* more new flows than the service takes */
	REASON_DROP_RATE_SOURCE,  /* more than it takes of one source */
	REASON_DROP_CONNECTIONS,  /* as many are open as may be */
	REASON_MAX,
};

/* Things worth counting that are not the end of a packet. */
enum event {
	EVENT_FLOW_CREATED,   /* a new flow was recorded */
	EVENT_FLOW_EVICTED,   /* a live flow was overwritten for want of room */
	EVENT_FLOW_MOVED,     /* its backend is down, it got another */
	EVENT_FLOW_MIDSTREAM, /* created by a TCP packet other than a SYN */
	EVENT_FLOW_INHERITED, /* unknown, and sent to the backend its slot had before */
	/* Why a service's policies were not asked about a new flow: */
	EVENT_UPCALL_RATE,    /* more new flows than the service may ask about */
	EVENT_UPCALL_SOURCE,  /* more than one source may */
	EVENT_UPCALL_RING,    /* no room in the ring buffer */
	EVENT_UPCALL_AWAY,    /* no daemon */
	EVENT_UPCALL_SIZE,    /* longer than UPCALL_FRAME, or a super-packet */
	EVENT_DECIDED,        /* a flow was recorded as the policies decided */
	EVENT_SYN_RETRIED,    /* a SYN that came again went to another backend */
	EVENT_AFFINITY,       /* a new flow went where its client's earlier ones had gone */
	EVENT_AFFINITY_LOST,  /* it could not: that backend no longer serves */
	EVENT_QUIC,           /* a flow was recorded with the backend that its connection ID names */
	EVENT_MAX,
};

/* The mark of the packets of a probe that goes via the VIP; its lower bits are
 * the backend's number. */
enum {
	PROBE_MARK = 0x78600000,
	PROBE_BACKEND = 0x000fffff,
};

/* The mark of a packet that the daemon injects through lo; its lower bits are the
 * interface that it shall come in by, once more. */
enum {
	INJECT_MARK = 0x78700000,
	INJECT_INTERFACE = 0x000fffff,
};

enum forward {
	FORWARD_NAT = 1,   /* destination and source rewritten */
	FORWARD_L2DSR = 2, /* MAC addresses only */
	FORWARD_DNAT = 3,  /* destination rewritten; we are the backends' gateway */
	FORWARD_IPIP = 4,  /* an outer IP header */
	FORWARD_GUE = 5,   /* outer IP and UDP headers */
};

/* Which flows of a service are recorded. nat and dnat record all: the reply
 * needs the record. */
enum track {
	TRACK_AUTO = 1,   /* those in marked slots of the table */
	TRACK_ALWAYS = 2,
	TRACK_NEVER = 3,
};

/* What a service has beside the usual. */
enum option {
	OPTION_RULES = 1 << 0,     /* its sources have rules, or go to a table of their own */
	OPTION_RATE = 1 << 1,
	OPTION_RATE_SOURCE = 1 << 2,
	OPTION_CONNECTIONS = 1 << 3,
	OPTION_SCHEDULE = 1 << 4,  /* the hash of a new flow is drawn, not computed */
	OPTION_HASH = 1 << 5,      /* it is computed of something else */
	OPTION_AFFINITY = 1 << 6,
	OPTION_ONE_PACKET = 1 << 7,
	OPTION_QUIC = 1 << 8,
	OPTION_OUTCOMES = 1 << 9,  /* what becomes of its connections is counted */
	OPTION_RETRY = 1 << 10,
};

enum schedule {
	SCHEDULE_TABLE = 0, /* the hash is the flow's: maglev, source-hash */
	SCHEDULE_RANDOM = 1,
	SCHEDULE_ROUND_ROBIN = 2,
	SCHEDULE_LEAST_CONNECTIONS = 3,
	SCHEDULE_LEAST_LATENCY = 4,
};

enum hash_input {
	HASH_FIVE_TUPLE = 0,
	HASH_SOURCE = 1,
	HASH_SOURCE_DESTINATION = 2,
	HASH_DESTINATION_PORT = 3,
};

/* What becomes of a new flow that nobody can be asked about. */
enum overload {
	OVERLOAD_CONTINUE = 1, /* as if the service had no policies */
	OVERLOAD_DROP = 2,
};

/* A service's table is one value: table_size backend numbers, the present ones,
 * and as many more, which are looked at only where the present one is marked:
 * the backend that had the slot before (0: none). See select.h. */
#define SLOT_MARKED (1U << 31)

enum {
	BACKEND_SERVES = 1 << 0, /* flows that have it may keep it */
	BACKEND_IPV6 = 1 << 1,
};

/* What a flow has seen. Bits of flow.meta's state byte. */
enum flow_state {
	FLOW_REPLIED = 1 << 0,     /* the backend answered */
	FLOW_ESTABLISHED = 1 << 1, /* the client spoke again after that */
	FLOW_FIN_CLIENT = 1 << 2,
	FLOW_FIN_BACKEND = 1 << 3,
	FLOW_RST_CLIENT = 1 << 4,
	FLOW_RST_BACKEND = 1 << 5, /* without FLOW_REPLIED: a RST that was held back */
	FLOW_RETRY = 1 << 6,       /* this and the next bit: backends tried before this one */
};

enum { RETRIES = 3 };

/* A frontend, or (port and protocol 0) an address that nat uses as source. */
struct vip4_key {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 used; /* 1: the key of a free cell is 0 */
};

struct vip6_key {
	struct addr address;
	__be16 port;
	__u8 protocol;
	__u8 used;
	__u8 pad[4]; /* named, so that it is zero: keys are compared whole */
};

struct vip {
	__u32 service; /* 1 ..; 0 if the address is a source only */
	__u16 source;  /* index into sources plus one; 0 if it is none */
	__u16 flags;
};

enum {
	VIP_DNAT_BACKEND = 1 << 0, /* a dnat service's backend replies from here */
	/* Of a bucket, in its first cell, filled or not: a key whose first bucket
	 * this is lives in its second. */
	VIP_ELSEWHERE = 1 << 15,
};

/* Keys and values in words, as they are read and written; see vips.h. */
enum { VIP_CELLS = 4 };

struct vip4_cell {
	__u64 key; /* struct vip4_key */
	__u64 vip;
};

struct vip6_cell {
	__u64 key[3]; /* struct vip6_key */
	__u64 vip;
};

/* A cache line, and two; of the latter the second is seldom read. */
struct vip4_bucket {
	struct vip4_cell cell[VIP_CELLS];
};

struct vip6_bucket {
	struct vip6_cell cell[VIP_CELLS];
};

/* Idle times in ticks of 2^20 ns. */
struct timeouts {
	__u32 tcp_syn;
	__u32 tcp_established;
	__u32 tcp_fin;
	__u32 tcp_closed;
	__u32 udp;
};

struct service {
	__u8 forward;  /* enum forward */
	__u8 ipv6;     /* family of its frontends' nat sources */
	__u8 track;    /* enum track */
	__u8 policy;   /* enum overload if the daemon is asked about each new flow, else 0 */
	__u16 sources; /* number of nat sources of that family */
	__u16 first_source;
	struct timeouts timeouts;
	/* Most new flows that are asked about in 2^UPCALL_WINDOW ns: */
	__u16 upcalls;
	__u16 upcalls_per_source; /* an IPv4 address or an IPv6 /64 */
	/* What few services have; where options is 0, nothing below is looked at. */
	__u16 options;            /* enum option */
	__u8 schedule;            /* enum schedule */
	__u8 hash_input;          /* enum hash_input */
	__u8 affinity_ipv4;       /* prefix length of a client */
	__u8 affinity_ipv6;
	__u8 retries;             /* of a SYN, 0 to 3 */
	__u8 quic_server_id;      /* its length in a connection ID; 0: they are not looked at */
	__u32 affinity_timeout;   /* ticks */
	__u32 connections;        /* most at a time; 0: no limit */
	/* New flows a second and how many may come at once; see gate.h. Of a source,
	 * above the bits of RATE_MASK, the prefix length of IPv4 and of IPv6. */
	__u32 rate;
	__u32 burst;
	__u32 rate_per_source;
	__u32 burst_per_source;
};

enum {
	RATE_BITS = 24,
	RATE_MASK = (1 << RATE_BITS) - 1,
	RATE_SOURCES = 65536, /* of which limits are known at a time */
};

/* A prefix of sources in a service's rules. IPv4 is ::ffff:a.b.c.d, so that both
 * families have one trie and ::/0 can be told from 0.0.0.0/0. */
struct rule_key {
	__u32 length;
	__be32 word[4];
};

/* What the rules say of a source: the number of the table that is asked, 0 for
 * the service's own; or why its packets are dropped. */
#define RULE_DENIED (1U << 31)
#define RULE_NOT_ALLOWED (1U << 30)

/* Whose a table is that is no service's own; of use to user space alone. */
struct subset {
	__u32 service; /* 0: nobody's */
	__u8 tag[64];
	__u8 zone[64];
};

struct rate_key {
	struct addr source; /* masked */
	__u32 service;
	__u32 pad;
};

/* Packets that a service refused, by reason from REASON_DROP_DENIED on. */
struct refused {
	__u64 packets[8]; /* a cache line */
};

struct backend {
	struct addr address;
	__be16 port;
	__u16 flags;
	__u32 service;
	__u32 weight; /* where connections are compared, else 0 */
	__u32 pad;    /* two to a cache line */
};

/* The outer header of ipip and gue, by its family: index 0 IPv4, 1 IPv6. */
struct tunnel {
	struct addr source;
	__be32 entropy;  /* bits of the source's last word that the flow's hash fills */
	__be16 gue_port;
	__u8 usable;     /* 0: there is no source of this family */
	__u8 pad;
};

/* Where packets of a VLAN device leave; by the device's index. */
struct vlan {
	__u32 parent;
	__u16 id;
	__be16 protocol; /* ETH_P_8021Q or ETH_P_8021AD */
};

/* What some service needs of every packet. */
enum {
	FEATURE_DNAT = 1 << 0, /* packets to nobody may be replies of dnat backends */
};

struct source {
	struct addr address;
	__u8 ipv6;
	__u8 pad[7];
};

/*
 * A flow; one cache line. It holds both directions: the client's packets find
 * it by hash of (client, vip, tuple), the backend's by the port that nat took
 * (see ports). So the two halves cannot outlive each other.
 *
 * meta is read and changed as one word: bits 0-31 the tick of the last packet,
 * 32-39 enum flow_state, 40-63 a sequence number, odd while the record is
 * written. Whoever changes anything else in a record holds it so.
 */
struct flow {
	struct addr client;
	struct addr vip;
	__u64 tuple; /* 0: free, all ones: dead. See flow_tuple() */
	__u64 meta;
	__u32 backend;
	__u32 service;
	__be16 nat_port; /* 0: not nat */
	__u16 source;    /* index into sources, or SOURCE_CLIENT */
	__u32 cell;      /* index into ports, valid if nat_port is not 0 */
};

enum { FLOW_WAYS = 4, PORT_CELLS = 16 };

/* A flow's source that is no entry of sources: dnat keeps the client's address. */
enum { SOURCE_CLIENT = 65535 };

struct flow_set {
	struct flow way[FLOW_WAYS];
};

/*
 * Who holds a source port: a port's cell (see port_place()) holds the number of
 * the flow plus one, 0 if free. A cell has one owner, so no two flows can share
 * a port to a backend.
 */
struct port_line {
	__u32 cell[PORT_CELLS];
};

/* A next hop, kept for a moment so that not every packet asks the kernel. */
struct next_hop {
	struct addr address;
	__u32 ingress;
	__u32 expires; /* jiffies */
	__u32 egress;  /* the interface that sends */
	__u32 device;  /* the route's: egress, or a VLAN device on it */
	__u8 mac[12]; /* destination and source, as they begin a frame */
	__u16 mtu;
	__u8 family; /* 0: empty; else 4 or 6 */
	__u8 via_gateway;
	__u16 vlan;    /* id to leave with */
	__be16 vlan_protocol; /* 0: no tag */
	__u32 pad[3];  /* a cache line */
};

/*
 * A new flow of a service with policies: its packet goes to the daemon behind a
 * header, in one record of the ring buffer. The daemon leaves a decision and
 * injects the packet again.
 */
enum {
	UPCALL_FRAME = 9216,  /* longest frame */
	UPCALL_WINDOW = 26,   /* limits hold for this many bits of nanoseconds, 67 ms */
	UPCALL_SOURCES = 65536, /* cells of which each counts the upcalls of some sources */
};

struct upcall {
	struct addr client;
	struct addr vip;
	__u64 tuple;
	__u64 hash;    /* hash_flow(), without a seed */
	__u64 at;      /* ns of the coarse monotonic clock */
	__u32 service;
	__u32 ifindex; /* by which it came in */
	__u32 length;  /* of the frame that follows */
	__u16 l3;      /* where its headers begin */
	__u16 l4;
	__u16 vlan_tci;       /* TC: of the tag that the kernel took out of the frame */
	__be16 vlan_protocol; /* 0: there was none */
	__u8 tcp_flags;
	__u8 xdp;      /* 0: TC */
	__u8 pad[2];
};

/* A decision is taken by the packet that records the flow, or drops all of them
 * while it lives. */
struct decision_key {
	struct addr client;
	struct addr vip;
	__u64 tuple;
};

enum {
	DECISION_SEND = 1,
	DECISION_DROP = 2,
};

/* In milliseconds. */
enum {
	DECISION_LIFE = 5000,
	HEARTBEAT_LIFE = 1000,
};

struct decision {
	__u64 at;      /* ns of the coarse monotonic clock */
	__u32 service;
	__u32 backend; /* 0: the table's */
	__u32 hash;    /* to ask the table with, if hashed */
	__u8 action;
	__u8 hashed;
	__u8 pad[2];
};

/* A client, by a prefix of its address, at a table. */
struct affinity_key {
	struct addr client;
	__u32 table;
	__u32 pad; /* named, so that it is zero */
};

struct affinity {
	__u32 backend;
	__u32 at; /* tick of its last new flow */
};

/* A server of a service, as connection IDs name it. */
struct quic_key {
	__u32 service;
	__u8 form;   /* the configuration, 0 to 6 | the ID's length << 3 */
	__u8 id[15]; /* follows it, as in a packet; what is beyond its length is 0 */
};

/* Packets and bytes from the Ethernet header on. */
struct count {
	__u64 packets;
	__u64 bytes;
};

/* Counters of a service or a backend. */
struct traffic {
	struct count request; /* from the client */
	struct count reply;   /* from the backend; nat only */
	struct count dropped;
	__u64 flows;          /* recorded, or, where none are, TCP SYNs */
	__u64 pad;            /* a cache line */
};

/*
 * How busy and how quick a backend is, or a service. All CPUs change it, and user
 * space corrects it, by adding to it: it is in one place, and one cache line.
 */
struct load {
	__s32 connections; /* recorded flows that go on; counted where the service needs it. For a moment it may be a little wrong, and less than 0 */
	__u32 latency;     /* of a backend: ns from SYN to SYN-ACK, smoothed; 0: not known */
	__u64 cursor;      /* of a service, or of a table of its subsets: turns of its round robin */
	__u64 pad[6];
};

/* What became of connections to a backend, or of those of a service, if it has
 * OPTION_OUTCOMES. In l2dsr, ipip and gue the client's next packet tells that the
 * backend answered, and nothing tells of a RST. */
enum outcome {
	OUTCOME_ATTEMPTS,   /* connections begun; at each backend that was tried */
	OUTCOME_ANSWERED,   /* first SYN-ACKs */
	OUTCOME_UNANSWERED, /* connections whose SYN came again without an answer */
	OUTCOME_REFUSED,    /* RSTs to a SYN */
	OUTCOME_RESET,      /* RSTs of the backend before either side closed */
	OUTCOME_RETRIED,    /* attempts that failed and went on with another backend */
	OUTCOME_MAX = 8,
};

struct outcomes {
	__u64 count[OUTCOME_MAX]; /* by enum outcome; a cache line */
};

/* SYNs that wait for their answer, by the flow's number; see outcome.h. */
enum { SYN_CELLS = 65536 };

struct syn {
	__u64 left;  /* a tag of the flow << 32 | when it left, or what became of that */
	__u64 first; /* the tag << 32 | the SYN's sequence number */
};

/* What a later start of the daemon must know of these maps. */
struct layout {
	__u32 version;
	__u32 table_size;
	__u64 seed; /* of the flow table's hash */
	__u32 flow_sets;
	__u32 port_cells;
	__u32 frontends; /* room for them, of either family */
	__u32 pad;
};
