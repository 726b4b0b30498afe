// Command golang is a policy in Go, which needs more of its host than others do.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
	"unsafe"
)

var (
	config struct{ Percent int }
	buffer = make([]byte, 64)
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
	if err := json.Unmarshal(buffer[:size], &config); err != nil {
		return 1
	}
	fmt.Println("percent:", config.Percent)
	return 0
}

//go:wasmexport flow
func flow(srcHi, srcLo, dstHi, dstLo int64, srcPort, dstPort, protocol, flags int32, hash int64, backends int32) int64 {
	switch srcPort {
	case 1:
		panic("told to")
	case 2:
		_, err := os.ReadFile("/etc/passwd")
		fmt.Fprintln(os.Stderr, err, len(os.Args), len(os.Environ()))
		return 1
	case 3:
		done := make(chan bool)
		go func() { done <- true }()
		<-done
		return 2
	case 4:
		for {
		}
	case 5:
		time.Sleep(time.Hour)
	}
	if uint64(hash)%100 < uint64(config.Percent) {
		return 5
	}
	return 0
}

func main() {}
