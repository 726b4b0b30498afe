// Package servers runs the real servers that xlb stands before, as processes of
// a test inside a namespace of [testlab]: PostgreSQL, Redis, Mosquitto, nginx,
// MariaDB, Exim, BIND and dnsmasq. `test/deps test` installs the programs.
//
// Each has a directory of its own below the system's for temporary files, listens
// on every address of its namespace, and answers when the call that starts it
// returns. The lab's Close ends it and removes the directory. It can be stopped
// and started again in between, with its data. Needs root; a server that refuses
// to run as root runs as another user.
package servers
