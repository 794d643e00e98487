// RUN: edgecc-opt %s --split-input-file --verify-diagnostics

// One function per constraint of dialects/edge/EdgeOps.td, by its label.

func.func @reshape_c1(%x: tensor<4xf32>) -> tensor<2x2xf16> {
  // expected-error @+1 {{turns 'f32' into 'f16'}}
  %0 = edge.reshape %x : tensor<4xf32> -> tensor<2x2xf16>
  return %0 : tensor<2x2xf16>
}

// -----

func.func @reshape_c2(%x: tensor<4xf32>) -> tensor<3x2xf32> {
  // expected-error @+1 {{turns 4 elements into 6}}
  %0 = edge.reshape %x : tensor<4xf32> -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

// Whatever the symbol is, from 1 to 9.
module attributes {edge.symbols = [#edge.symbol<"n", 1, 9, free>]} {
func.func @reshape_c2(%x: tensor<?xf32, affine_map<()[s0] -> (s0 * 4)>>) -> tensor<?x3xf32, affine_map<()[s0] -> (s0 * 2, 3)>> {
  // expected-error @+1 {{turns s0 * 4 elements into s0 * 6}}
  %0 = edge.reshape %x : tensor<?xf32, affine_map<()[s0] -> (s0 * 4)>> -> tensor<?x3xf32, affine_map<()[s0] -> (s0 * 2, 3)>>
  return %0 : tensor<?x3xf32, affine_map<()[s0] -> (s0 * 2, 3)>>
}
}

// -----

func.func @linear_c1(%x: tensor<2x8xf32>, %w: tensor<8x20xf32>) -> tensor<2x20xf32> {
  // expected-error @+1 {{with 8 input and 20 output channels and layout nk has a weight of type 'tensor<8x20xf32>'}}
  %0 = edge.linear %x, %w : tensor<2x8xf32>, tensor<8x20xf32> -> tensor<2x20xf32>
  return %0 : tensor<2x20xf32>
}

// -----

// 20 channels are two panels, not one.
func.func @linear_c1(%x: tensor<2x8xf32>, %w: tensor<1x8x16xf32>) -> tensor<2x20xf32> {
  // expected-error @+1 {{layout panels has a weight of type 'tensor<1x8x16xf32>'}}
  %0 = edge.linear %x, %w {layout = 2 : i32} : tensor<2x8xf32>, tensor<1x8x16xf32> -> tensor<2x20xf32>
  return %0 : tensor<2x20xf32>
}

// -----

func.func @linear_c2(%x: tensor<2x8xf32>, %w: tensor<20x8xf32>, %bias: tensor<1x20xf32>) -> tensor<2x20xf32> {
  // expected-error @+1 {{has an extra of type 'tensor<1x20xf32>', which is neither [20] nor the result's shape}}
  %0 = edge.linear %x, %w extras(%bias : tensor<1x20xf32>) : tensor<2x8xf32>, tensor<20x8xf32> -> tensor<2x20xf32> {
  ^bb0(%sum: f32, %b: f32):
    %1 = arith.addf %sum, %b : f32
    edge.yield %1 : f32
  }
  return %0 : tensor<2x20xf32>
}

// -----

func.func @linear_c2(%x: tensor<2x8xf32>, %w: tensor<20x8xf32>, %bias: tensor<20xf32>) -> tensor<2x20xf32> {
  // expected-error @+1 {{has extras but no epilogue}}
  %0 = edge.linear %x, %w extras(%bias : tensor<20xf32>) : tensor<2x8xf32>, tensor<20x8xf32> -> tensor<2x20xf32>
  return %0 : tensor<2x20xf32>
}

// -----

func.func @linear_c3(%x: tensor<2x8xf16>, %w: tensor<20x8xf16>) -> tensor<2x20xf16> {
  // expected-error @+1 {{has an epilogue that does not take f32 and an element of each extra}}
  %0 = edge.linear %x, %w : tensor<2x8xf16>, tensor<20x8xf16> -> tensor<2x20xf16> {
  ^bb0(%sum: f16):
    edge.yield %sum : f16
  }
  return %0 : tensor<2x20xf16>
}

// -----

func.func @linear_c4(%x: tensor<1x32xf32>, %w: tensor<16x1x24xi8>, %s: tensor<16x1xf32>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has the quantization #edge.quantization<bits = 6, group = 32, scale = f32>; 4 and 8 bits, groups of a multiple of 16 (0: one per channel) and f16 or f32 scales are supported}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x1xf32>) {quantization = #edge.quantization<bits = 6, group = 32, scale = f32>}
      : tensor<1x32xf32>, tensor<16x1x24xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c4(%x: tensor<1x40xf32>, %w: tensor<16x2x10xi8>, %s: tensor<16x2xf32>) -> tensor<1x16xf32> {
  // expected-error @+1 {{groups of a multiple of 16}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf32>) {quantization = #edge.quantization<bits = 4, group = 20, scale = f32>}
      : tensor<1x40xf32>, tensor<16x2x10xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c4(%x: tensor<1x32xf32>, %w: tensor<32x16xi8>, %s: tensor<16x1xf32>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has a quantized weight of type 'tensor<32x16xi8>' in layout kn; it must be i8 in layout nk or panels}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x1xf32>) {layout = 1 : i32, quantization = #edge.quantization<bits = 8, group = 0, scale = f32>}
      : tensor<1x32xf32>, tensor<32x16xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

// 40 numbers in groups of 32 are two groups: the second one is filled up.
func.func @linear_c1(%x: tensor<1x40xf32>, %w: tensor<16x1x20xi8>, %s: tensor<16x1xf16>) -> tensor<1x16xf32> {
  // expected-error @+1 {{with 40 input and 16 output channels and the quantization #edge.quantization<bits = 4, group = 32, scale = f16> has a weight of type 'tensor<16x1x20xi8>'}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x1xf16>) {quantization = #edge.quantization<bits = 4, group = 32, scale = f16>}
      : tensor<1x40xf32>, tensor<16x1x20xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c5(%x: tensor<1x32xf32>, %w: tensor<16x2x8xi8>, %s: tensor<16x2xf32>) -> tensor<1x16xf32> {
  // expected-error @+1 {{wants scales [16, 2] of type 'f16'}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf32>) {quantization = #edge.quantization<bits = 4, group = 16, scale = f16>}
      : tensor<1x32xf32>, tensor<16x2x8xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c5(%x: tensor<1x32xf32>, %w: tensor<16x2x8xi8>, %s: tensor<16x2xf16>, %z: tensor<16x2xi8>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has zeros, but its quantization has none}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf16>) zeros(%z : tensor<16x2xi8>) {quantization = #edge.quantization<bits = 4, group = 16, scale = f16>}
      : tensor<1x32xf32>, tensor<16x2x8xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c5(%x: tensor<1x32xf32>, %w: tensor<16x32xf32>, %s: tensor<16x2xf16>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has scales, zeros or outliers but no quantization}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf16>) : tensor<1x32xf32>, tensor<16x32xf32> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c5(%x: tensor<1x32xf32>, %w: tensor<1x512xi8>, %s: tensor<16x2xf16>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has scales or zeros beside panels, which hold them}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf16>) {layout = 2 : i32, quantization = #edge.quantization<bits = 4, group = 16, scale = f16>}
      : tensor<1x32xf32>, tensor<1x512xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c6(%x: tensor<1x32xf32>, %w: tensor<16x2x8xi8>, %s: tensor<16x2xf16>, %i: tensor<3xi32>, %o: tensor<16x2xf16>) -> tensor<1x16xf32> {
  // expected-error @+1 {{with 32 input and 16 output channels has outliers of type 'tensor<3xi32>' with weights of type 'tensor<16x2xf16>'; wanted are indices [count] of type i32, at most one per input channel, and weights [output channels, count] of type f16}}
  %0 = edge.linear %x, %w scales(%s : tensor<16x2xf16>) outliers(%i, %o : tensor<3xi32>, tensor<16x2xf16>)
      {quantization = #edge.quantization<bits = 4, group = 16, scale = f16>} : tensor<1x32xf32>, tensor<16x2x8xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @linear_c6(%x: tensor<1x32xf32>, %w: tensor<16x32xf32>, %i: tensor<3xi32>, %o: tensor<16x3xf16>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has scales, zeros or outliers but no quantization}}
  %0 = edge.linear %x, %w outliers(%i, %o : tensor<3xi32>, tensor<16x3xf16>) : tensor<1x32xf32>, tensor<16x32xf32> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// -----

func.func @embedding_c1(%ids: tensor<3xi64>, %t: tensor<16x2x8xi8>, %s: tensor<15x2xf16>) -> tensor<3x32xf32> {
  // expected-error @+1 {{wants scales [16, 2] of type 'f16'}}
  %0 = edge.embedding %ids, %t scales(%s : tensor<15x2xf16>) {quantization = #edge.quantization<bits = 4, group = 16, scale = f16>}
      : tensor<3xi64>, tensor<16x2x8xi8> -> tensor<3x32xf32>
  return %0 : tensor<3x32xf32>
}

// -----

func.func @embedding_c1(%ids: tensor<3xi64>, %t: tensor<1x576xi8>, %i: tensor<3xi32>, %o: tensor<16x3xf16>) -> tensor<3x32xf32> {
  // expected-error @+1 {{and weights [panels, count, 16] of type f16}}
  %0 = edge.embedding %ids, %t outliers(%i, %o : tensor<3xi32>, tensor<16x3xf16>) {layout = 2 : i32, quantization = #edge.quantization<bits = 8, group = 0, scale = f32>}
      : tensor<3xi64>, tensor<1x576xi8> -> tensor<3x32xf32>
  return %0 : tensor<3x32xf32>
}

// -----

func.func @attention_c1(%q: tensor<1x5x4x8xf32>, %k: tensor<1x7x3x8xf32>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{has 4 heads, which is no multiple of its 3 KV heads}}
  %0 = edge.attention %q, %k, %k {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32}
      : tensor<1x5x4x8xf32>, tensor<1x7x3x8xf32>, tensor<1x7x3x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

// Where the heads stand is a flag: [batch, heads, tokens, dim] with it.
func.func @attention_c1(%q: tensor<1x4x5x8xf32>, %k: tensor<1x3x7x8xf32>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{has 4 heads, which is no multiple of its 3 KV heads}}
  %0 = edge.attention %q, %k, %k {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32, query_heads_first, key_heads_first}
      : tensor<1x4x5x8xf32>, tensor<1x3x7x8xf32>, tensor<1x3x7x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

func.func @attention_c2(%q: tensor<1x5x4x8xf32>, %k: tensor<1x7x2x16xf32>) -> tensor<1x5x4x16xf32> {
  // expected-error @+1 {{has a query head_dim of 8 but a key head_dim of 16}}
  %0 = edge.attention %q, %k, %k {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32}
      : tensor<1x5x4x8xf32>, tensor<1x7x2x16xf32>, tensor<1x7x2x16xf32> -> tensor<1x5x4x16xf32>
  return %0 : tensor<1x5x4x16xf32>
}

// -----

func.func @attention_c3(%q: tensor<5x4x8xf32>, %k: tensor<1x7x2x8xf32>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{query, key, value and result must have rank 4, but one is 'tensor<5x4x8xf32>'}}
  %0 = edge.attention %q, %k, %k {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32}
      : tensor<5x4x8xf32>, tensor<1x7x2x8xf32>, tensor<1x7x2x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

func.func @attention_c4(%q: tensor<1x5x4x8xf32>, %k: tensor<1x2x4x8xi8>, %s: tensor<1x2x4xf16>, %v: tensor<1x2x7x8xf32>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{has a quantized cache, but its keys do not stand heads first}}
  %0 = edge.attention %q, %k, %v key_parts(%s : tensor<1x2x4xf16>) {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32,
      key_cache = #edge.cache<bits = 8, dim = 8>} : tensor<1x5x4x8xf32>, tensor<1x2x4x8xi8>, tensor<1x2x7x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

func.func @attention_c4(%q: tensor<1x5x4x8xf32>, %k: tensor<1x2x7x8xf32>, %v: tensor<1x2x7x8xi8>, %s: tensor<1x2x8xf16>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{has a cache of the states 'tensor<1x2x7x8xi8>', 'tensor<1x2x8xf16>', but #edge.cache<bits = 8, dim = 8> wants 'tensor<1x2x7x8xi8>', 'tensor<1x2x7xf16>'}}
  %0 = edge.attention %q, %k, %v value_parts(%s : tensor<1x2x8xf16>) {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32, key_heads_first,
      value_cache = #edge.cache<bits = 8, dim = 8>} : tensor<1x5x4x8xf32>, tensor<1x2x7x8xf32>, tensor<1x2x7x8xi8> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

func.func @attention_c4(%q: tensor<1x5x4x8xf32>, %k: tensor<1x2x7x8xf32>, %s: tensor<1x2x7xf16>) -> tensor<1x5x4x8xf32> {
  // expected-error @+1 {{has parts of a cache but no cache attribute}}
  %0 = edge.attention %q, %k, %k key_parts(%s : tensor<1x2x7xf16>) {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 1.0 : f32, key_heads_first}
      : tensor<1x5x4x8xf32>, tensor<1x2x7x8xf32>, tensor<1x2x7x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// -----

func.func @append_c1(%s: tensor<1x2x7x8xf32>, %r: tensor<1x3x4x8xf32>) -> tensor<1x2x7x8xf32> {
  // expected-error @+1 {{writes rows 'tensor<1x3x4x8xf32>' into a state 'tensor<1x2x7x8xf32>'}}
  %0 = edge.append %s, %r at affine_map<() -> (0)> : tensor<1x2x7x8xf32>, tensor<1x3x4x8xf32> -> tensor<1x2x7x8xf32>
  return %0 : tensor<1x2x7x8xf32>
}

// -----

func.func @append_c1_batch(%s: tensor<1x2x7x8xf32>, %r: tensor<4x4x2x8xf32>) -> tensor<1x2x7x8xf32> {
  // expected-error @+1 {{writes rows 'tensor<4x4x2x8xf32>' into a state 'tensor<1x2x7x8xf32>'}}
  %0 = edge.append %s, %r at affine_map<() -> (0)> : tensor<1x2x7x8xf32>, tensor<4x4x2x8xf32> -> tensor<1x2x7x8xf32>
  return %0 : tensor<1x2x7x8xf32>
}

// -----

func.func @append_c2(%s: tensor<1x2x7x12xi8>, %c: tensor<1x2x7xf16>, %r: tensor<1x3x2x12xf32>) -> tensor<1x2x7x12xi8> {
  // expected-error @+1 {{has the cache #edge.cache<bits = 4, dim = 12, form = channel> for heads of 12; 8 bits by token, and 4 bits by token or channel of a multiple of 8 are supported}}
  %0, %1 = edge.append %s, %r parts(%c : tensor<1x2x7xf16>) at affine_map<() -> (0)> {cache = #edge.cache<bits = 4, dim = 12, form = channel>}
      : tensor<1x2x7x12xi8>, tensor<1x3x2x12xf32> -> tensor<1x2x7x12xi8>, tensor<1x2x7xf16>
  return %0 : tensor<1x2x7x12xi8>
}

// -----

func.func @append_c2(%s: tensor<1x2x7x8xi8>, %c: tensor<1x2x7xf16>, %r: tensor<1x3x2x8xf32>) -> tensor<1x2x7x8xi8> {
  // expected-error @+1 {{has results of other types than its states}}
  %0, %1 = edge.append %s, %r parts(%c : tensor<1x2x7xf16>) at affine_map<() -> (0)> {cache = #edge.cache<bits = 8, dim = 8>}
      : tensor<1x2x7x8xi8>, tensor<1x3x2x8xf32> -> tensor<1x2x7x8xi8>, tensor<1x2x7xf32>
  return %0 : tensor<1x2x7x8xi8>
}

// -----

func.func @rope_c1(%x: tensor<1x5x2x8xf32>, %t: tensor<1x5x8xf32>) -> tensor<1x5x2x8xf32> {
  // expected-error @+1 {{rotates 16 elements of a head_dim of 8}}
  %0 = edge.rope %x, %t, %t : tensor<1x5x2x8xf32>, tensor<1x5x8xf32> -> tensor<1x5x2x8xf32>
  return %0 : tensor<1x5x2x8xf32>
}

// -----

// No task.
func.func @kernel_c1(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{takes 2 buffers but its body has 2 arguments}}
  %0 = edge.kernel "none" tasks affine_map<() -> (1)> ins(%x : tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%in: memref<4xf32>, %out: memref<4xf32>):
    edge.yield
  }
  return %0 : tensor<4xf32>
}

// -----

// A bool is a byte inside.
func.func @kernel_c1(%x: tensor<4xi1>) -> tensor<4xf32> {
  // expected-error @+1 {{passes 'tensor<4xi1>' to a block argument of type 'memref<4xi1>'}}
  %0 = edge.kernel "none" tasks affine_map<() -> (1)> ins(%x : tensor<4xi1>) -> tensor<4xf32> {
  ^bb0(%task: index, %in: memref<4xi1>, %out: memref<4xf32>):
    edge.yield
  }
  return %0 : tensor<4xf32>
}

// -----

func.func @confidence_c1(%x: tensor<1x8xf32>) -> tensor<1xf32> {
  // expected-error @+1 {{of the kind state needs the state before the layer}}
  %0 = edge.confidence state of %x : tensor<1x8xf32> -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

// -----

func.func @confidence_c1(%x: tensor<1x8xf32>) -> tensor<1xf32> {
  // expected-error @+1 {{of the kind margin compares with nothing, but is given what was before}}
  %0 = edge.confidence margin of %x after %x : tensor<1x8xf32> : tensor<1x8xf32> -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

// -----

func.func @confidence_c1(%x: tensor<1x8xf32>, %y: tensor<2x8xf32>) -> tensor<1xf32> {
  // expected-error @+1 {{compares 'tensor<1x8xf32>' with 'tensor<2x8xf32>'}}
  %0 = edge.confidence state of %x after %y : tensor<2x8xf32> : tensor<1x8xf32> -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

// -----

func.func @exit_c1(%sure: tensor<2xf32>, %y: tensor<1x8xf32>) -> tensor<1x8xf32> {
  // expected-error @+1 {{has a confidence of type 'tensor<2xf32>'; it must be tensor<1xf32>}}
  edge.exit 0 if %sure gives %y : tensor<2xf32> -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}

// -----

func.func @exit_c2(%sure: tensor<1xf32>, %y: tensor<1x8xf32>) -> tensor<1x4xf32> {
  // expected-error @+1 {{gives 'tensor<1x8xf32>', but the function's outputs are 'tensor<1x4xf32>'}}
  edge.exit 0 if %sure gives %y : tensor<1xf32> -> tensor<1x8xf32>
  %0 = edge.weight "z" {value = dense<0.0> : tensor<1x4xf32>} : tensor<1x4xf32>
  return %0 : tensor<1x4xf32>
}
