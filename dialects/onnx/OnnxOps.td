//===- OnnxOps.td - An imported ONNX graph, as it stands --------------------===//
//
// One generic op: the knowledge of an operator is a row in a table of conversions (passes/normalize), not a class here.
//
//===----------------------------------------------------------------------===//
#ifndef ONNX_OPS
#define ONNX_OPS
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::edgecc::onnx";
  let summary = "An ONNX graph, node for node";
  let description = [{
    Tensor types are as the file says where it says so, else `tensor<*xT>`; unsigned elements are `ui8` and so on, bool is
    `i1`. A named dimension (`dim_param`) of a graph input is a `?` whose name stands in the argument's `onnx.dims`.
    Function arguments and results carry `onnx.name`.
  }];
}

def Onnx_NodeOp : Op<Onnx_Dialect, "node", [Pure]> {
  let summary = "one node of the graph";
  let description = [{
    `version` is the opset version the graph imports for the domain. Omitted optional inputs are `onnx.none`.
    ONNX attributes stand in the dictionary `params`: ints `i64`, floats `f32`, strings, lists as `DenseI64ArrayAttr`,
    `DenseF32ArrayAttr` or `ArrayAttr` of strings, tensors as elements attributes, element types as `TypeAttr`.
    `refused` says why a node could not be imported, and what to do: it stands there to be listed with those that cannot be compiled.

    ```mlir
    %r = onnx.node "MatMul"(%a, %b) {name = "/layer.0/MatMul", version = 17 : i64}
        : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<*xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op, DefaultValuedStrAttr<StrAttr, "">:$domain, I64Attr:$version, StrAttr:$name,
                       DefaultValuedAttr<DictionaryAttr, "{}">:$params, OptionalAttr<StrAttr>:$refused,
                       Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = "$op `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
}

def Onnx_NoneOp : Op<Onnx_Dialect, "none", [Pure]> {
  let summary = "an optional input that is not given";
  let description = "`missing`: a value that could not be imported.";
  let arguments = (ins UnitAttr:$missing);
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Onnx_ConstantOp : Op<Onnx_Dialect, "constant", [Pure]> {
  let summary = "an initializer: `dense` if small, `dense_resource` over the mapped file otherwise";
  let arguments = (ins StrAttr:$name, ElementsAttr:$value);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}
#endif
