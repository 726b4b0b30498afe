package policy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// wasiModule is there because Go's and Rust's libraries need it. It has no files, no
// environment, no arguments and a clock that does not tell the time; what a module
// prints is logged. Anything whose work grows with an argument is limited here, so
// that a call of the host costs no more than fuel pays for.
const wasiModule = wasi_snapshot_preview1.ModuleName

var wasiFunctions = []string{
	"args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get", "fd_advise",
	"fd_allocate", "fd_close", "fd_datasync", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights",
	"fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread", "fd_prestat_get",
	"fd_prestat_dir_name", "fd_pwrite", "fd_read", "fd_readdir", "fd_renumber", "fd_seek", "fd_sync", "fd_tell", "fd_write",
	"path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open", "path_readlink",
	"path_remove_directory", "path_rename", "path_symlink", "path_unlink_file", "poll_oneoff", "proc_exit", "proc_raise",
	"sched_yield", "random_get", "sock_accept", "sock_recv", "sock_send", "sock_shutdown",
}

// wasiKept are wazero's own, which take the same time whatever their arguments.
var wasiKept = []string{
	"args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get",
	"fd_fdstat_get", "fd_fdstat_set_flags", "proc_exit", "sched_yield",
}

// wasiOwn are written here; all others fail as if there were no files at all.
var wasiOwn = map[string]func(in *instance, stack []uint64) errno{
	"fd_write":    wasiWrite,
	"random_get":  wasiRandom,
	"poll_oneoff": wasiPoll,
}

// errno is an error of WASI.
type errno uint16

const (
	errnoOK    errno = 0
	errnoBadF  errno = 8
	errnoFault errno = 21
	errnoInval errno = 28
)

const (
	maxVectors = 64
	maxRandom  = 64 << 10
	// bytesPerFuel is what the host writes for a unit of fuel.
	bytesPerFuel = 64
)

func instantiateWASI(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(wasiModule)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	c, err := b.Compile(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for name, def := range c.ExportedFunctions() {
		if slices.Contains(wasiKept, name) {
			continue
		}
		own, ok := wasiOwn[name]
		if !ok {
			own = func(*instance, []uint64) errno { return errnoBadF }
		}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			stack[0] = uint64(own(caller(ctx), stack))
		}), def.ParamTypes(), def.ResultTypes()).Export(name)
	}
	_, err = b.Instantiate(ctx)
	return err
}

// wasiWrite logs what is written to the standard streams.
func wasiWrite(in *instance, stack []uint64) errno {
	fd, vectors, n, written := uint32(stack[0]), stack[1], uint32(stack[2]), stack[3]
	level := slog.LevelInfo
	switch fd {
	case 1:
	case 2:
		level = slog.LevelWarn
	default:
		return errnoBadF
	}
	if n > maxVectors {
		return errnoInval
	}
	list, ok := in.read(vectors, n*8)
	if !ok {
		return errnoFault
	}
	total := uint32(0)
	for ; len(list) > 0; list = list[8:] {
		size := binary.LittleEndian.Uint32(list[4:])
		text, ok := in.read(uint64(binary.LittleEndian.Uint32(list)), size)
		if !ok {
			return errnoFault
		}
		in.pay(size / bytesPerFuel)
		in.std[fd-1].write(in.p.log, level, text)
		total += size
	}
	out, ok := in.read(written, 4)
	if !ok {
		return errnoFault
	}
	binary.LittleEndian.PutUint32(out, total)
	return errnoOK
}

func wasiRandom(in *instance, stack []uint64) errno {
	if uint32(stack[1]) > maxRandom {
		return errnoInval
	}
	b, ok := in.read(stack[0], uint32(stack[1]))
	if !ok {
		return errnoFault
	}
	in.pay(uint32(len(b)) / bytesPerFuel)
	rand.Read(b)
	return errnoOK
}

// wasiPoll says that everything waited for has come: nobody sleeps here.
func wasiPoll(in *instance, stack []uint64) errno {
	const subscription, event = 48, 32
	n := uint32(stack[2])
	if n == 0 || n > maxVectors {
		return errnoInval
	}
	from, ok1 := in.read(stack[0], n*subscription)
	to, ok2 := in.read(stack[1], n*event)
	count, ok3 := in.read(stack[3], 4)
	if !ok1 || !ok2 || !ok3 {
		return errnoFault
	}
	for i := range int(n) {
		var e [event]byte
		copy(e[:8], from[i*subscription:])
		e[10] = from[i*subscription+8]
		copy(to[i*event:], e[:])
	}
	binary.LittleEndian.PutUint32(count, n)
	return errnoOK
}
