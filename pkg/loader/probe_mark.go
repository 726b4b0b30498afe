package loader

import "github.com/xlb-io/xlb/bpf"

// ProbeMark is the mark (SO_MARK) of a socket whose packets go to the backend with
// a number, 1 to 1048575, as clients' do.
func ProbeMark(number uint32) uint32 { return bpf.ProbeMark | number&bpf.ProbeBackend }
