/*
 * libnexus_io: bursts of frames between a pool and UDP sockets, and the byte work on bursts
 * (checksum, AEAD, Reed-Solomon). ffi/nexus_io.ts is the TypeScript side of this file.
 *
 * One call moves one burst. Objects are small integers (handles), so a stale one is an error and
 * never a crash. The pool and the burst live in memory of the caller; the layouts below are those
 * of lib/l1_link/pool.ts and burst.ts. Calls on one port belong to one thread at a time.
 *
 * Functions return a count or a handle (0 …) or a negative errno; nothing here ends the process.
 */
#ifndef NX_IO_H
#define NX_IO_H

#include <stdint.h>

#define NX_API __attribute__((visibility("default")))

/* Raised whenever anything in this file changes; the TypeScript side refuses another number. */
#define NX_ABI_VERSION 6u

/* Frames in one burst (BURST_FRAMES_MAX). */
#define NX_BURST_FRAMES_MAX 64
/* Slots that one receive can use: each holds a datagram or a train of them. */
#define NX_RX_SLOTS_MAX 16

/* Bits of nx_features: what the library was built with and this CPU can run. */
#define NX_FEATURE_UDP 1u       /* always */
#define NX_FEATURE_CRC32C 2u    /* ISA-L */
#define NX_FEATURE_RS 4u        /* ISA-L */
#define NX_FEATURE_AEAD_IMB 8u  /* intel-ipsec-mb */
#define NX_FEATURE_AEAD_EVP 16u /* libcrypto */

/* Descriptors 0 … count-1, one array per field: Burst.block. */
struct nx_burst {
	int32_t slot[NX_BURST_FRAMES_MAX];
	uint32_t offset[NX_BURST_FRAMES_MAX]; /* of the frame in the pool */
	uint32_t length[NX_BURST_FRAMES_MAX]; /* of the frame, or of all of a train with overlays between */
	uint32_t flags[NX_BURST_FRAMES_MAX];
	int32_t peer[NX_BURST_FRAMES_MAX];
	uint32_t time_high[NX_BURST_FRAMES_MAX]; /* receive time, ns since the epoch; 0: unknown */
	uint32_t time_low[NX_BURST_FRAMES_MAX];
	/*
	 * A train: frames of one length (the last may be shorter), this many bytes from one to the
	 * next, with an overlay before each. 0: a single frame.
	 */
	uint32_t segment[NX_BURST_FRAMES_MAX];
};

/* Bits of nx_burst.flags. */
#define NX_DESC_ECN_MASK 0x3u    /* ECN field of the IP header; sent and received */
#define NX_DESC_CRC_BAD 0x100u   /* set or cleared by nx_frames_crc with NX_CRC_CHECK */
#define NX_DESC_OPEN_BAD 0x200u  /* set or cleared by nx_open_sealed */
#define NX_DESC_MALFORMED 0x400u /* a burst helper could not read the frame */

/* Bits of nx_open_options.flags. */
#define NX_OPEN_REUSE_PORT 1u    /* SO_REUSEPORT: several ports share the address */
#define NX_OPEN_NO_GSO 2u        /* one datagram per send */
#define NX_OPEN_NO_GRO 4u        /* one datagram per receive */
#define NX_OPEN_TIMESTAMPS 8u    /* receive times, which cost the kernel 5 % of a train */
#define NX_OPEN_PMTU_DO 16u      /* obey the kernel's path MTU instead of probing past it */
#define NX_OPEN_CHECK_CRC 32u    /* check the CRC of each received frame (NX_DESC_CRC_BAD) */
#define NX_OPEN_TRAINS 64u       /* give trains as one descriptor each; their CRC is not checked */

#define NX_HOST_BYTES 64 /* longest numeric host with zone, and its NUL */

struct nx_open_options {
	uint32_t abi; /* NX_ABI_VERSION */
	uint32_t flags;
	uint32_t vni;
	uint32_t port; /* UDP port, 0: the system chooses */
	uint32_t pool_base; /* where slot 0 starts in the memory */
	uint32_t slot_bytes;
	uint32_t slots;
	uint32_t socket_buffer_bytes; /* wanted for each direction, 0: the system's default */
	uint32_t peers_learned_max;
	uint32_t peers_known_max;
	int32_t waker; /* of nx_waker_open, -1: none */
	uint32_t tag;  /* what the waker's callback is told */
	uint32_t group_size;  /* ports that share this address, steered (steer.c); 0 or 1: alone */
	uint32_t group_index; /* place of this one: how many of the group were opened before it */
	char host[NX_HOST_BYTES]; /* numeric, NUL-terminated */
};

/* Order of the counters that nx_stats writes: those of PortStats that C keeps. */
enum nx_stat {
	NX_RX_FRAMES,
	NX_RX_BYTES,
	NX_RX_MALFORMED,
	NX_RX_WRONG_VNI,
	NX_RX_TOO_LONG,
	NX_RX_NO_SLOT,
	NX_RX_QUEUE_FULL, /* SO_RXQ_OVFL */
	NX_RX_ERRORS,
	NX_TX_FRAMES,
	NX_TX_BYTES,
	NX_TX_ERRORS,
	NX_TX_UNKNOWN_PEER,
	NX_RX_TRAINS, /* receives that carried more than one frame (UDP_GRO) */
	NX_TX_TRAINS, /* sends of more than one frame (UDP_SEGMENT) */
	NX_STATS
};

#define NX_WAIT_READ 1u
#define NX_WAIT_WRITE 2u

NX_API uint32_t nx_abi(void);
NX_API uint32_t nx_features(void);

/*
 * Ports. `bytes` is the block that the pool lies in; it must stay in place until nx_close. A port
 * holds no slot between calls.
 */
NX_API int32_t nx_open(const struct nx_open_options *options, uint8_t *bytes,
		       uint32_t bytes_length);
NX_API int32_t nx_close(int32_t port);
/* Writes the numeric host the socket is bound to (NX_HOST_BYTES) and returns its UDP port. */
NX_API int32_t nx_local_address(int32_t port, char *host);
/* Number of a numeric address in the port's table. -EINVAL for a name. */
NX_API int32_t nx_peer(int32_t port, const char *host, uint32_t udp_port);
/* The address behind a number; -ENOENT when it is forgotten. */
NX_API int32_t nx_peer_address(int32_t port, int32_t peer, char *host);
/*
 * Fills the burst with frames that have arrived and returns their number. `slots` are free ones, up
 * to NX_RX_SLOTS_MAX; several frames may share one. None at all means that the pool is empty: frames
 * are dropped. With an empty socket it looks again for up to spin_us microseconds.
 */
NX_API int32_t nx_rx_burst(int32_t port, struct nx_burst *burst, const int32_t *slots,
			   uint32_t offered, uint32_t spin_us);
/*
 * Sends frames 0 … count-1 and returns how many it took: the caller frees their slots. Fewer than
 * count: the socket is full.
 */
NX_API int32_t nx_tx_burst(int32_t port, struct nx_burst *burst, uint32_t count);
/* Blocks the calling thread until one of `events` holds; returns what holds, 0 at the timeout. */
NX_API int32_t nx_wait(int32_t port, uint32_t events, uint32_t timeout_ms);
/*
 * Has the waker call back once when one of `events` holds. 0: takes the port out of the waker, whose
 * mere presence costs the kernel 3 % of a train; arming brings it in again.
 */
NX_API int32_t nx_arm(int32_t port, uint32_t events);
/* Writes the first `count` counters as doubles (exact to 2^53). */
NX_API int32_t nx_stats(int32_t port, double *into, uint32_t count);

/*
 * A waker is one thread that sleeps until an armed port has something, then calls back with the
 * port's tag. It lives as long as the process.
 */
NX_API int32_t nx_waker_open(void (*callback)(uint32_t tag));
/* Tag of no port. */
#define NX_WAKER_LAST 0u
/* Has the waker call back with NX_WAKER_LAST once it calls for no port that is closed by now. */
NX_API int32_t nx_waker_last(int32_t waker);

/*
 * CRC-32C of `length` bytes at `from`; `seed` is the CRC of what stands before. (A place in a buffer
 * is cheaper to pass than a view of it.)
 */
NX_API uint32_t nx_crc32c(const uint8_t *bytes, uint32_t from, uint32_t length, uint32_t seed);

#define NX_CRC_WRITE 0u
#define NX_CRC_CHECK 1u
/*
 * CRC over the canonical view (docs/protocol.md §2) of frames first … first+count-1, written into
 * or compared with their last four bytes. Returns the number of frames that are right.
 */
NX_API int32_t nx_frames_crc(uint8_t *bytes, uint32_t bytes_length, struct nx_burst *burst,
			     uint32_t first, uint32_t count, uint32_t mode);

/* Suites of docs/protocol.md §4.2. */
#define NX_SUITE_AES_256_GCM 1u
#define NX_SUITE_CHACHA20_POLY1305 2u
/* Which library does it. */
#define NX_BACKEND_BEST 0u
#define NX_BACKEND_IMB 1u
#define NX_BACKEND_EVP 2u

/* A traffic key: 32 bytes of key, 12 of iv. -ENOTSUP when no library has it. */
NX_API int32_t nx_key_open(uint32_t suite, uint32_t backend, const uint8_t *key, const uint8_t *iv,
			   uint32_t vni);
/* Wipes the key. */
NX_API int32_t nx_key_close(int32_t key);
/*
 * One message in place: `length` bytes at `from` of `bytes`, under a nonce of 12 bytes; the 16 bytes
 * of tag stand at `tag_at`. 1, or a negative errno.
 */
NX_API int32_t nx_aead_seal(int32_t key, const uint8_t *nonce, const uint8_t *aad,
			    uint32_t aad_length, uint8_t *bytes, uint32_t from, uint32_t length,
			    uint32_t tag_at);
/* 1 opened, 0 forged: then the text is as it was. */
NX_API int32_t nx_aead_open(int32_t key, const uint8_t *nonce, const uint8_t *aad,
			    uint32_t aad_length, uint8_t *bytes, uint32_t from, uint32_t length,
			    uint32_t tag_at);
/*
 * Seals complete sealed data frames (docs/protocol.md §5) whose payload is still clear: AEAD in
 * place, tag into the ENCRYPTION_TAG option, then the CRC. `packet_numbers` holds two words, high
 * and low, for each frame of the range. Returns how many were sealed, NX_DESC_MALFORMED marks others.
 */
NX_API int32_t nx_seal(int32_t key, uint8_t *bytes, uint32_t bytes_length, struct nx_burst *burst,
		       uint32_t first, uint32_t count, const uint32_t *packet_numbers);
/*
 * Opens sealed frames in place; the caller has recovered the packet numbers. NX_DESC_OPEN_BAD
 * marks forged frames, which are left as they were. Returns how many opened.
 */
NX_API int32_t nx_open_sealed(int32_t key, uint8_t *bytes, uint32_t bytes_length,
			      struct nx_burst *burst, uint32_t first, uint32_t count,
			      const uint32_t *packet_numbers);

/*
 * Runs: packets of one connection on one path, sealed and opened whole. A key for runs is bound to
 * the header that its frames share: 64 bytes as on the wire, those that differ between frames (length,
 * sequence number, timestamp) are not looked at. Sealed frames have one option, ENCRYPTION_TAG.
 */
NX_API int32_t nx_key_bind(int32_t key, const uint8_t *header, uint32_t path_id);

/* What nx_seal_run writes: packets of one DATA frame (docs/protocol.md §5.1) each. */
struct nx_seal_run {
	uint32_t at;    /* of the first frame in `bytes`; the next one follows after an overlay */
	uint32_t count; /* packets, their numbers count up */
	uint32_t number_high, number_low;
	uint32_t stream;
	uint32_t offset_high, offset_low; /* in the stream */
	uint32_t data_each;  /* stream bytes of each packet but the last */
	uint32_t data_total; /* of all */
	uint32_t time_high, time_low;
	uint32_t pieces; /* of source memory, together data_total bytes */
};

/*
 * Writes `count` sealed frames; the data comes from the memory at addresses[i], lengths[i] bytes each.
 * Returns the bytes from the first frame to the end of the last, or a negative errno and nothing
 * was sealed.
 */
NX_API int32_t nx_seal_run(int32_t key, uint8_t *bytes, uint32_t bytes_length,
			   const struct nx_seal_run *run, const double *addresses,
			   const uint32_t *lengths);

/*
 * Seals one frame that is complete but for tag and CRC, whatever its options and payload. 1, or a
 * negative errno.
 */
NX_API int32_t nx_seal_frame(int32_t key, uint8_t *bytes, uint32_t bytes_length, uint32_t at,
			     uint32_t length, uint32_t number_high, uint32_t number_low);

/* Room before the landing place of nx_open_run: the head of a DATA frame is opened in front of it. */
#define NX_LANDING_HEADROOM 16u
/* Results of one call at most. */
#define NX_RESULTS_MAX 64u

struct nx_open_run {
	/* In: a frame or train as a burst describes it. */
	uint32_t at, length, segment;
	uint32_t next; /* frame to go on with; out: first frame that was not looked at */
	/* Where opened bytes go, in `landing`: packed, from landed on. */
	uint32_t landed, landing_end;
	/* Out. */
	uint32_t results;
};

/* What became of frames, in their order. */
enum nx_result_kind {
	NX_RESULT_DATA = 1,    /* packets of one DATA frame each, numbers and offsets in sequence */
	NX_RESULT_PACKET = 2,  /* an opened payload */
	NX_RESULT_FRAME = 3,   /* not looked at: another shape, connection or CRC; bytes unchanged */
	NX_RESULT_FORGED = 4,  /* does not open; bytes unchanged */
	NX_RESULT_REPLAYED = 5 /* seen before or too old; bytes unchanged */
};

struct nx_result {
	uint32_t kind;
	uint32_t number_high, number_low; /* DATA: of the first packet */
	uint32_t packets;                 /* DATA */
	uint32_t at;     /* DATA, PACKET: in landing; else in bytes */
	uint32_t length; /* DATA: stream bytes; PACKET: payload; else frame */
	uint32_t stream; /* DATA */
	uint32_t offset_high, offset_low; /* DATA */
	uint32_t frame_bytes; /* whole frames, overlays not counted */
};

/* Replay window of lib/l4_trust/records/replay_window.ts, shared with it. */
#define NX_REPLAY_WINDOW 4096u
#define NX_REPLAY_WORDS (2 * NX_REPLAY_WINDOW / 32)
struct nx_replay {
	uint32_t next_high, next_low; /* largest number + 1; 0: none yet */
	uint32_t ring[NX_REPLAY_WORDS];
};

/*
 * Opens the frames of one descriptor that have the shape nx_seal_run gives them, with CRC, header,
 * replay window and tag checked. Returns the number of results; results, window and run are updated.
 * Stops early (run->next) when results or landing are full.
 */
NX_API int32_t nx_open_run(int32_t key, const uint8_t *bytes, uint32_t bytes_length,
			   struct nx_open_run *run, uint8_t *landing, uint32_t landing_length,
			   struct nx_result *results, struct nx_replay *window);

/*
 * Reed-Solomon over GF(2^8), polynomial 0x11d (docs/protocol.md §5.6): symbol i is the value at point
 * i of the polynomial through the `sources` source symbols. `offsets` says where each symbol of
 * `length` bytes lies, source symbols first. Returns how many repair symbols were written.
 */
#define NX_RS_SYMBOLS_MAX 255u
NX_API int32_t nx_rs_encode(uint32_t sources, uint32_t repairs, uint8_t *bytes,
			    uint32_t bytes_length, const uint32_t *offsets, uint32_t length);
/*
 * Rebuilds every missing source symbol at its offset; `present` has a byte for each symbol. Returns
 * how many were rebuilt, -ENODATA when fewer than `sources` symbols are there.
 */
NX_API int32_t nx_rs_decode(uint32_t sources, uint32_t repairs, uint8_t *bytes,
			    uint32_t bytes_length, const uint32_t *offsets,
			    const uint8_t *present, uint32_t length);

#endif
