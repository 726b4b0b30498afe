// Package policytest asks a policy what its author expects of it.
// docs/policy-vectors.md is for the author.
//
// The expectations stand in a file, vectors.yaml by custom: a list of vectors, each
// a question with the answer that is wanted. Each vector gets an instance of its
// own. Keys that are not listed here are mistakes; so are anchors, aliases and tags.
//
//	name: TEXT            what is tested; no two vectors have the same
//	config: ANY           the policy's configuration; none: {}
//	tables:               what its look-up tables hold; absent ones are empty
//	  NAME: {KEY: VALUE}  written as in a table's file
//	now: TIME             the wall clock, RFC 3339, at the start; none: the present
//	before: [QUESTION]    asked of the same instance first, each with a repeat of its
//	                      own; the answers do not matter
//	repeat: N             asked so often, 1 to 1,000,000; the last answer counts
//	want: ANSWER
//
// and one question:
//
//	flow:                 a new flow
//	  source: ADDRESS:PORT
//	  vip: ADDRESS:PORT
//	  protocol: tcp       tcp or udp
//	  flags: syn          of TCP: fin, syn, rst, psh, ack, urg, ece, cwr, with commas between
//	  hash: 0             0 to 2^64-1
//	  backends: 1         how many take new flows
//	weigh:                the backends of a service
//	  backends:
//	    - address: ADDRESS:PORT
//	      state: up       unknown, up, down or draining
//	      weight: 1       0 to 65535
//	      tier: 0         0 to 255
//	      zone: TEXT
//	      tags: [TEXT]
//	      latency: 0s
//	      flows: 0        flows_total and errors_total as well
//	probe:                the policy speaks to a server that follows the script
//	  timeout: 1s         of the policy
//	  script:             once it ends, the server stays connected and silent
//	    - expect: TEXT    reads this
//	    - send: TEXT      writes this
//	    - wait: 100ms     does nothing
//	    - close: true     closes the connection
//	validate: ANY         a configuration: is it accepted?
//
// What an answer does not name is not compared, except that eject is false unless
// wanted:
//
//	flow:      {action: continue|drop|reject|backend|subset|hash, reason: N,
//	           backend: INDEX, subset: NAME, hash: N, counters: {NAME: N}}
//	weigh:     a list in the order of the question's backends, or of the addresses it
//	           names: [{address: ADDRESS:PORT, weight: N, tier: N, eject: true, reason: N}];
//	           weight and tier are those in force afterwards
//	probe:     {state: healthy|unhealthy, role: TEXT, reason: TEXT}
//	validate:  {valid: true}
//	all:       {error: TEXT} wants a failure whose message holds TEXT
//
// For example:
//
//	# vectors.yaml
//	- name: a listed client is dropped
//	  tables:
//	    deny: {"192.0.2.0/24": 1}
//	  flow: {source: "192.0.2.7:4242", vip: "203.0.113.10:80"}
//	  want: {action: drop, reason: 1}
package policytest
