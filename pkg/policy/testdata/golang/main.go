// Command golang is a policy in Go, whose runtime needs more of its host than other
// languages do. It imports little, for much takes long to compile.
package main

import (
	"runtime"
	"unsafe"
)

var (
	percent uint64
	buffer  = make([]byte, 64)
	sink    []byte
)

//go:wasmexport xlb_abi_version
func abiVersion() int32 { return 1 }

//go:wasmexport alloc
func alloc(size int32) int32 {
	if int(size) > len(buffer) {
		buffer = make([]byte, size)
	}
	return int32(uintptr(unsafe.Pointer(&buffer[0])))
}

//go:wasmexport configure
func configure(at, size int32, wall, mono int64) int32 {
	percent = 0
	for _, c := range buffer[:size] {
		if c >= '0' && c <= '9' {
			percent = percent*10 + uint64(c-'0')
		}
	}
	if percent > 100 {
		return 1
	}
	println("percent:", percent)
	return 0
}

//go:wasmexport flow
func flow(srcHi, srcLo, dstHi, dstLo int64, srcPort, dstPort, protocol, flags int32, hash int64, backends int32) int64 {
	switch srcPort {
	case 1:
		panic("told to")
	case 2: // garbage; its collector runs in goroutines, which must be let to
		runtime.Gosched()
		for range 10 {
			sink = make([]byte, 1000)
		}
		return 1
	case 3:
		done := make(chan bool)
		go func() { done <- true }()
		<-done
		return 2
	case 4:
		for {
		}
	}
	if uint64(hash)%100 < percent {
		return 5
	}
	return 0
}

func main() {}
