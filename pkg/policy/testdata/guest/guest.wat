;; A policy with all hooks. The first number of its configuration is its verdict, the
;; weight of all backends, and, if it is 13, a reason to refuse it.
(module
  (import "xlb" "log" (func $log (param i32 i32 i32)))
  (import "xlb" "now" (func $now (result i64)))
  (import "xlb" "random" (func $random (result i64)))
  (import "xlb" "count" (func $count (param i32 i64)))
  (import "xlb" "table_lookup" (func $lookup (param i32 i64 i64) (result i64)))
  (import "xlb" "conn_write" (func $conn_write (param i32 i32) (result i32)))
  (import "xlb" "conn_read" (func $conn_read (param i32 i32) (result i32)))
  (import "xlb" "set_reason" (func $set_reason (param i32 i32)))
  (import "xlb" "set_role" (func $set_role (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "thirteen is unlucky")
  (data (i32.const 64) "PING\r\n")
  (data (i32.const 80) "+PONG")
  (data (i32.const 96) "primary")
  (data (i32.const 112) "no pong")
  (data (i32.const 128) "configured")
  (global $number (mut i64) (i64.const 0))
  (global $calls (mut i64) (i64.const 0))
  (global $wall (mut i64) (i64.const 0))
  (global $mono (mut i64) (i64.const 0))

  (func (export "xlb_abi_version") (result i32) (i32.const 1))

  ;; One buffer at 4096, which grows.
  (func (export "alloc") (param $size i32) (result i32) (local $more i32)
    (local.set $more
      (i32.sub (i32.add (i32.const 4096) (local.get $size)) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.gt_s (local.get $more) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $more) (i32.const 16)) (i32.const 1))) (i32.const -1))
          (then (return (i32.const 0))))))
    (i32.const 4096))

  ;; The first decimal number of a text.
  (func $parse (param $at i32) (param $len i32) (result i64) (local $n i64) (local $c i32) (local $seen i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $len)))
        (local.set $c (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (if (i32.lt_u (local.get $c) (i32.const 10))
          (then
            (local.set $seen (i32.const 1))
            (local.set $n (i64.add (i64.mul (local.get $n) (i64.const 10)) (i64.extend_i32_u (local.get $c)))))
          (else (br_if $done (local.get $seen))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $len (i32.sub (local.get $len) (i32.const 1)))
        (br $next)))
    (local.get $n))

  (func (export "validate") (param $at i32) (param $len i32) (result i64)
    (if (result i64) (i64.eq (call $parse (local.get $at) (local.get $len)) (i64.const 13))
      (then (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 19)))
      (else (i64.const 0))))

  ;; 99 is refused by configure, not by validate.
  (func (export "configure") (param $at i32) (param $len i32) (param $wall i64) (param $mono i64) (result i32)
    (local $n i64)
    (local.set $n (call $parse (local.get $at) (local.get $len)))
    (if (i64.eq (local.get $n) (i64.const 99)) (then (return (i32.const 7))))
    (global.set $number (local.get $n))
    (global.set $wall (local.get $wall))
    (global.set $mono (local.get $mono))
    (call $log (i32.const 1) (i32.const 128) (i32.const 10))
    (i32.const 0))

  ;; Source port 1: what the table 0 has for the source, as a reason. 2: how many calls
  ;; there were. 3: the seconds of the wall clock, as a hash. 4: a random hash.
  ;; Any other: the number.
  (func (export "flow") (param $src_hi i64) (param $src_lo i64) (param $dst_hi i64) (param $dst_lo i64)
    (param $src_port i32) (param $dst_port i32) (param $protocol i32) (param $flags i32)
    (param $hash i64) (param $backends i32) (result i64)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (call $count (i32.const 0) (i64.const 1))
    (if (i32.eq (local.get $src_port) (i32.const 1))
      (then (return (i64.or (i64.const 1) (i64.shl
        (i64.and (call $lookup (i32.const 0) (local.get $src_hi) (local.get $src_lo)) (i64.const 0xffff)) (i64.const 16))))))
    (if (i32.eq (local.get $src_port) (i32.const 2))
      (then (return (i64.or (i64.const 1) (i64.shl (global.get $calls) (i64.const 16))))))
    (if (i32.eq (local.get $src_port) (i32.const 3))
      (then (return (i64.or (i64.const 5) (i64.shl (i64.div_u
        (i64.add (global.get $wall) (i64.sub (call $now) (global.get $mono)))
        (i64.const 1000000000)) (i64.const 32))))))
    (if (i32.eq (local.get $src_port) (i32.const 4))
      (then (return (i64.or (i64.const 5) (i64.shl (call $random) (i64.const 32))))))
    (global.get $number))

  ;; All get the number as weight; those of zone "x" are ejected for reason 3, those
  ;; with tags get tier 2.
  (func (export "weigh") (param $at i32) (param $n i32) (param $size i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (i32.store offset=80 (local.get $at) (i32.wrap_i64 (global.get $number)))
        (if (i32.eq (i32.load offset=32 (local.get $at)) (i32.const 1))
          (then
            (if (i32.eq (i32.load8_u (i32.load offset=28 (local.get $at))) (i32.const 120))
              (then
                (i32.store offset=88 (local.get $at) (i32.const 1))
                (i32.store offset=92 (local.get $at) (i32.const 3))))))
        (if (i32.load offset=40 (local.get $at))
          (then (i32.store offset=84 (local.get $at) (i32.const 2))))
        (local.set $at (i32.add (local.get $at) (i32.const 96)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Says PING and expects +PONG.
  (func (export "probe") (param $timeout i32) (result i32)
    (drop (call $conn_write (i32.const 64) (i32.const 6)))
    (if (i32.ge_s (call $conn_read (i32.const 1024) (i32.const 64)) (i32.const 5))
      (then
        (if (i32.eq (i32.load (i32.const 1024)) (i32.load (i32.const 80)))
          (then
            (call $set_role (i32.const 96) (i32.const 7))
            (return (i32.const 0))))))
    (call $set_reason (i32.const 112) (i32.const 7))
    (i32.const 1)))
