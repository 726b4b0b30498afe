package profile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// statement is a piece of a program in the kernel, as long as the line it was
// compiled from is the same.
type statement struct {
	begin, end   uint64 // addresses of the machine code
	file         string // its last part
	line         uint32
	text         string
	instructions int // of eBPF, after the verifier's changes
}

// function is one function of a program in the kernel.
type function struct {
	name       string
	begin, end uint64
}

// image is what the kernel tells of a program's machine code.
type image struct {
	functions  []function
	statements []statement // by address
	program    Program
}

// images are those of all programs with a name that this process can see.
func images(name string) (all []image, err error) {
	for id := ebpf.ProgramID(0); ; {
		id, err = ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list programs: %w", err)
		}
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just gone
		}
		if err != nil {
			return nil, fmt.Errorf("open program %d: %w", id, err)
		}
		i, err := imageOf(p, name)
		if err = errors.Join(err, p.Close()); err != nil {
			return nil, fmt.Errorf("program %d: %w", id, err)
		}
		if i != nil {
			all = append(all, *i)
		}
	}
}

// imageOf is nil if the program has another name.
func imageOf(p *ebpf.Program, name string) (*image, error) {
	info, err := p.Info()
	if err != nil || info.Name != name {
		return nil, err
	}
	addresses, _ := info.JitedKsymAddrs()
	lengths, _ := info.JitedFuncLens()
	lines, err := info.LineInfos()
	if err != nil {
		return nil, err
	}
	jited, _ := info.JitedLineInfos()
	names, err := info.FuncInfos()
	if err != nil {
		return nil, err
	}
	code, err := info.Instructions()
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 || len(jited) != len(lines) || len(names) != len(addresses) || len(lengths) != len(addresses) {
		return nil, errors.New("the kernel does not show its machine code (see sysctl net.core.bpf_jit_enable, kernel.kptr_restrict)")
	}
	i := &image{}
	for n, at := range addresses {
		i.functions = append(i.functions, function{names[n].Func.Name, uint64(at), uint64(at) + uint64(lengths[n])})
	}
	end := uint32(0)
	for _, ins := range code {
		end += uint32(ins.Size()) / 8
	}
	for n, l := range lines {
		next := end
		if n+1 < len(lines) {
			next = uint32(lines[n+1].Offset)
		}
		i.statements = append(i.statements, statement{
			begin: jited[n], file: filepath.Base(l.Line.FileName()), line: l.Line.LineNumber(), text: l.Line.Line(),
			instructions: int(next - uint32(l.Offset)),
		})
	}
	slices.SortStableFunc(i.statements, func(a, b statement) int { return cmp.Compare(a.begin, b.begin) })
	for n := range i.statements {
		s := &i.statements[n]
		s.end = i.functionAt(s.begin).end
		if n+1 < len(i.statements) {
			s.end = min(s.end, i.statements[n+1].begin)
		}
	}
	i.program = i.sizes()
	if verified, ok := info.VerifiedInstructions(); ok {
		i.program.Verified = int(verified)
	}
	i.program.Name, i.program.Instructions = name, int(end)
	return i, nil
}

// functionAt is the function that holds an address, empty if none does.
func (i *image) functionAt(at uint64) function {
	for _, f := range i.functions {
		if f.begin <= at && at < f.end {
			return f
		}
	}
	return function{}
}

// at is the index of the statement that holds an address, or -1.
func (i *image) at(address uint64) int {
	n, exact := slices.BinarySearchFunc(i.statements, address, func(s statement, at uint64) int { return cmp.Compare(s.begin, at) })
	if exact {
		// Of several at one address all but the last are empty.
		for n+1 < len(i.statements) && i.statements[n+1].begin == address {
			n++
		}
		return n
	}
	if n == 0 || address >= i.statements[n-1].end {
		return -1
	}
	return n - 1
}

func (i *image) sizes() Program {
	p := Program{}
	for _, f := range i.functions {
		p.Functions = append(p.Functions, Function{Name: f.name, Bytes: int(f.end - f.begin)})
		p.Bytes += int(f.end - f.begin)
	}
	return p
}
