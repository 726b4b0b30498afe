package api

// maxBody bounds what either side reads of the other's requests and errors, in
// bytes: a configuration of 16 MiB as a JSON string, with room for escapes.
const maxBody = 64 << 20
