;; A policy of a few comparisons, and a rendezvous hash, to measure calls.
(module
  (func (export "xlb_abi_version") (result i32) (i32.const 1))
  (func (export "flow") (param $src_hi i64) (param $src_lo i64) (param $dst_hi i64) (param $dst_lo i64)
    (param $src_port i32) (param $dst_port i32) (param $protocol i32) (param $flags i32)
    (param $hash i64) (param $backends i32) (result i64)
    (if (i64.eq (i64.and (local.get $src_lo) (i64.const 0xffff0000)) (i64.const 0x0a420000))
      (then (return (i64.const 1))))
    (if (i32.and (i32.eq (local.get $protocol) (i32.const 17)) (i32.eq (local.get $dst_port) (i32.const 53)))
      (then (return (i64.const 0))))
    (if (i32.eqz (local.get $backends)) (then (return (i64.const 0))))
    (i64.or (i64.const 3) (i64.shl
      (i64.rem_u (local.get $hash) (i64.extend_i32_u (local.get $backends))) (i64.const 32))))

  (func $mix (param $h i32) (result i32)
    (local.set $h (i32.mul (i32.xor (local.get $h) (i32.shr_u (local.get $h) (i32.const 16))) (i32.const 0x85ebca6b)))
    (local.set $h (i32.mul (i32.xor (local.get $h) (i32.shr_u (local.get $h) (i32.const 13))) (i32.const 0xc2b2ae35)))
    (i32.xor (local.get $h) (i32.shr_u (local.get $h) (i32.const 16))))

  (func (export "rendezvous") (param $hash i32) (param $n i32) (result i32)
    (local $i i32) (local $best i32) (local $score i32) (local $s i32)
    (loop $next
      (local.set $s (call $mix (i32.xor (local.get $hash) (i32.mul (local.get $i) (i32.const 0x9e3779b9)))))
      (if (i32.gt_u (local.get $s) (local.get $score))
        (then
          (local.set $score (local.get $s))
          (local.set $best (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $best)))
