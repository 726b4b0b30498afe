// Package wasm reads WebAssembly modules (2.0, binary format) and rewrites them so
// that a host can trust them with its time and memory.
//
// [Decode] reads all sections but not what functions do; [Module.Rewrite] reads
// these. Neither checks types: that is for the runtime that gets the rewritten
// module, which the original would pass exactly if the rewritten one does. What
// they do check are counts, sizes and indices, so that a runtime makes nothing big
// for a small file, and so that no module can name what the rewriting adds.
package wasm
