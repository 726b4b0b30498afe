package plugins

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The keys that the readers are asked for, as in testdata.
var jsonKeys = []string{"k", "", "ä€😀", "a\"\\\n"}

var jsonTexts = []string{
	``, `{}`, ` { } `, "\t{\n}\r", `{"k":1}`, `{"k":-0}`, `{"k":0.50}`, `{"k":12.5,"k":7}`, `{"k":1e3}`, `{"k":1E-2}`,
	`{"k":true}`, `{"k":false}`, `{"k":null}`, `{"k":"drop"}`, `{"k":"d\u0072op"}`, `{"k":"drops"}`, `{"k":"dro"}`,
	`{"k":[]}`, `{"k":[ ]}`, `{"k":["a","b"]}`, `{"k":[1, true ,null,"x"] , "":2}`, `{"ä€😀":"ä€😀"}`,
	`{"\u00e4\u20ac\ud83d\ude00":"\u00e4\u20ac\ud83d\ude00"}`, `{"a\"\\\n":"\b\f\n\r\t\/\\\""}`, `{"":"\ud800"}`,
	`{"":"\ud800\u0041"}`, `{"":"\udc00\ud800\ud800\udc00"}`, `{"k":"\uD83D\uDE00 \u00C4"}`,
	`{"k":1000000000000000000}`, `{"k":1000000000000000001}`, `{"k":999999999999999999999999999999}`, `{"k":0.0000001}`,
	// None of these is a flat object.
	`{`, `}`, `[]`, `1`, `null`, `"k"`, `{"k"}`, `{"k":}`, `{"k":1,}`, `{,}`, `{"k":1 "":2}`, `{"k":1}x`, `{"k":{}}`,
	`{"k":[[]]}`, `{"k":[{}]}`, `{"k":[1,]}`, `{"k":[,1]}`, `{"k":[1 2]}`, `{"k":[1}`, `{"k":01}`, `{"k":1.}`, `{"k":.5}`,
	`{"k":+1}`, `{"k":-}`, `{"k":1e}`, `{"k":1e+}`, `{"k":tru}`, `{"k":nul}`, `{"k":True}`, `{"k":"a`, `{"k":"\x"}`,
	`{"k":"\u12g4"}`, `{"k":"\u12"}`, `{"k":"` + "\n" + `"}`, `{"k":"` + "\x00" + `"}`, `{"k":'a'}`, `{k:1}`, "\xef\xbb\xbf{}",
}

// The readers of the SDKs say what encoding/json says.
func TestJSON(t *testing.T) {
	for lang, argv := range map[string][]string{
		"c": {"clang", "--target=wasm32", "-std=c11", "-Xclang", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-Isdk/c",
			"-Wl,--no-entry,--strip-all,--stack-first", "-o", "{out}", "testdata/json.c"},
		"rust": {"rustc", "--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib", "-Copt-level=2",
			"-Cpanic=abort", "-Dwarnings", "-o", "{out}", "testdata/json.rs"},
		"assemblyscript": {asc, "testdata/json.ts", "-O3", "--runtime", "stub", "--use", "abort=", "--outFile", "{out}"},
	} {
		t.Run(lang, func(t *testing.T) {
			need(t, lang)
			r := newReader(t, argv)
			for _, text := range jsonTexts {
				r.compare(t, text)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 4_000 {
				r.compare(t, damaged(rng, jsonTexts[rng.IntN(len(jsonTexts))]))
			}
		})
	}
}

// damaged replaces, removes and inserts characters.
func damaged(rng *rand.Rand, text string) string {
	const alphabet = `{}[]:,"\u0019ad.eE+-ntfk ä😀` + "\n"
	runes, letters := []rune(text), []rune(alphabet)
	for range 1 + rng.IntN(3) {
		at := rng.IntN(len(runes) + 1)
		with := letters[rng.IntN(len(letters))]
		switch {
		case at == len(runes) || rng.IntN(3) == 0:
			runes = slices.Insert(runes, at, with)
		case rng.IntN(2) == 0:
			runes = slices.Delete(runes, at, at+1)
		default:
			runes[at] = with
		}
	}
	return string(runes)
}

// reader is a module of testdata.
type reader struct {
	module          api.Module
	ask, alloc, out api.Function
}

func newReader(t *testing.T, argv []string) *reader {
	t.Helper()
	out := filepath.Join(t.TempDir(), "json.wasm")
	build(t, ".", argv, out)
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	runtime := wazero.NewRuntime(t.Context())
	t.Cleanup(func() { runtime.Close(t.Context()) })
	m, err := runtime.Instantiate(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	return &reader{m, m.ExportedFunction("ask"), m.ExportedFunction("alloc"), m.ExportedFunction("out")}
}

func (r *reader) call(t *testing.T, f api.Function, args ...uint64) uint64 {
	t.Helper()
	got, err := f.Call(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

// The questions of testdata.
const (
	isFlat = iota
	isThere
	isDecimal
	isBoolean
	isString
	isDrop
	countItems
	isItem
)

func (r *reader) compare(t *testing.T, text string) {
	t.Helper()
	at := r.call(t, r.alloc, uint64(len(text)))
	if at == 0 || at%8 != 0 || !r.module.Memory().WriteString(uint32(at), text) {
		t.Fatalf("alloc(%d) is %d", len(text), at)
	}
	object, flat := flatObject(text)
	for i, key := range jsonKeys {
		ask := func(question, n int) string {
			got := int64(r.call(t, r.ask, at, uint64(len(text)), uint64(i), uint64(question), uint64(n)))
			if (question != isString && question != isItem) || got < 0 {
				return fmt.Sprint(got)
			}
			bytes, ok := r.module.Memory().Read(uint32(r.call(t, r.out)), uint32(got))
			if !ok {
				t.Fatalf("%q: a string of %d bytes", text, got)
			}
			return fmt.Sprintf("%q", bytes)
		}
		check := func(what string, got string, want any) {
			t.Helper()
			if got != fmt.Sprint(want) {
				t.Fatalf("%q, key %q: %s is %s, want %v", text, key, what, got, want)
			}
		}
		value := object[key]
		check("flat", ask(isFlat, 0), number(flat))
		check("there", ask(isThere, 0), number(value != nil))
		for _, places := range []int{0, 2, 6} {
			check(fmt.Sprintf("decimal of %d places", places), ask(isDecimal, places), decimal(value, places))
		}
		yes, isBool := value.(bool)
		check("boolean", ask(isBoolean, 0), map[bool]int{true: number(yes), false: -1}[isBool])
		check("string", ask(isString, 0), quoted(value))
		check("drop", ask(isDrop, 0), number(value == "drop"))
		items, _ := value.([]any)
		check("items", ask(countItems, 0), len(items))
		for n := range items {
			check("item", ask(isItem, n), quoted(items[n]))
		}
		check("no item", ask(isItem, len(items)), -2)
	}
}

// flatObject reads a text as the SDKs should.
func flatObject(text string) (object map[string]any, flat bool) {
	if text == "" {
		return nil, true
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if !json.Valid([]byte(text)) || d.Decode(&object) != nil || object == nil {
		return nil, false
	}
	for _, value := range object {
		if _, nested := value.(map[string]any); nested {
			return nil, false
		}
		items, _ := value.([]any)
		for _, item := range items {
			switch item.(type) {
			case []any, map[string]any:
				return nil, false
			}
		}
	}
	return object, true
}

func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func quoted(value any) string {
	if s, ok := value.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return "-1"
}

// decimal is a number times ten to the power of places, if it has no more of them.
func decimal(value any, places int) int64 {
	n, ok := value.(json.Number)
	_, fraction, _ := strings.Cut(n.String(), ".")
	if !ok || strings.ContainsAny(n.String(), "eE") || len(fraction) > places {
		return math.MinInt64
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return math.MinInt64
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	if most := big.NewRat(1_000_000_000_000_000_000, 1); new(big.Rat).Abs(r).Cmp(most) > 0 {
		return math.MinInt64
	}
	return r.Num().Int64()
}
