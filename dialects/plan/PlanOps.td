//===- PlanOps.td - What the runtime must know ------------------------------===//
//
// One for one with the tables of runtime/schema/model.fbs, so that the packager is a dumb serializer and the memory plan, the
// states and the entries can be tested with FileCheck. Only plan.step and plan.leave have no table there: they become code.
//
// A plan is of one CPU variant. An artifact has one for all of its variants: all but steps and arenas must be the same, and the
// largest arena of each entry is taken (compiler/package/JoinPlans.h).
//
//===----------------------------------------------------------------------===//
#ifndef PLAN_OPS
#define PLAN_OPS
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::edgecc::plan";
  let summary = "What the runtime must know";
  let useDefaultAttributePrinterParser = 1;
}

def Plan_Memory : I32EnumAttr<"Memory", "what a call brings along: the fields of edgecc_call, numbered as they stand there", [
    I32EnumAttrCase<"Arena", 1, "arena">, I32EnumAttrCase<"Weights", 2, "weights">, I32EnumAttrCase<"State", 3, "state">,
    I32EnumAttrCase<"Input", 4, "input">, I32EnumAttrCase<"Output", 5, "output">]> {
  let cppNamespace = "::edgecc::plan";
}

def Plan_PlaceAttr : AttrDef<Plan_Dialect, "Place"> {
  let mnemonic = "place";
  let summary = "where a buffer lies: at a byte of the arena or the weights, or state, input or output number `at`";
  let parameters = (ins EnumParameter<Plan_Memory>:$memory, "int64_t":$at);
  let assemblyFormat = "`<` $memory $at `>`";
}

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

def Plan_ModelOp : Plan_Op<"model", [NoTerminator, SingleBlock]> {
  let summary = "the artifact; its symbols are the module's `edge.symbols`, `layers` is known where there are exits";
  let arguments = (ins StrAttr:$name, DefaultValuedAttr<DictionaryAttr, "{}">:$facts, DefaultValuedAttr<I64Attr, "0">:$layers);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name attr-dict-with-keyword $body";
}

def Plan_StateOp : Plan_Op<"state"> {
  let summary = "memory of a session, in the order of edgecc_call.states";
  let arguments = (ins StrAttr:$name, StrAttr:$element, AffineMapAttr:$shape);
  let assemblyFormat = "$name `:` $element $shape attr-dict";
}

def Plan_WeightOp : Plan_Op<"weight"> {
  let summary = "bytes at an offset of the weights segment";
  let arguments = (ins StrAttr:$name, I64Attr:$offset, I64Attr:$bytes, ElementsAttr:$value);
  let assemblyFormat = "$name `at` $offset `bytes` $bytes attr-dict";
}

def Plan_ExitOp : Plan_Op<"exit", [HasParent<"ModelOp">]> {
  let summary = "a place where calls of an entry with `plan.leave` may end, after so many layers; in order";
  let arguments = (ins I64Attr:$layer, F32Attr:$threshold, StrAttr:$confidence, OptionalAttr<I64Attr>:$pending);
  let assemblyFormat = "`after` $layer $confidence `at_least` $threshold (`pending` $pending^)? attr-dict";
}

def Plan_EntryOp : Plan_Op<"entry", [NoTerminator, SingleBlock]> {
  let summary = "a function of type edgecc_entry (runtime/include/edgecc/abi.h)";
  let arguments = (ins StrAttr:$name, FlatSymbolRefAttr:$function, I64Attr:$arena, OptionalAttr<AffineMapAttr>:$advance,
                       OptionalAttr<I64Attr>:$resumes, UnitAttr:$fills);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name `function` $function `arena` $arena (`advance` $advance^)? (`resumes` $resumes^)? (`fills` $fills^)? attr-dict-with-keyword $body";
}

def Plan_TensorOp : Plan_Op<"tensor", [HasParent<"EntryOp">]> {
  let summary = "an input or output, in the order of edgecc_call.inputs and outputs";
  let arguments = (ins StrAttr:$name, StrAttr:$element, AffineMapAttr:$shape, UnitAttr:$output);
  let assemblyFormat = "(`output` $output^)? $name `:` $element $shape attr-dict";
}

def Plan_StepOp : Plan_Op<"step", [ParentOneOf<["EntryOp", "LeaveOp"]>]> {
  let summary = "runs `task` for each number in [0, tasks) on buffers at these places, after the steps before it";
  let arguments = (ins FlatSymbolRefAttr:$task, AffineMapAttr:$tasks, TypedArrayAttrBase<Plan_PlaceAttr, "places">:$buffers);
  let assemblyFormat = "$task `tasks` $tasks $buffers attr-dict";
}

def Plan_LeaveOp : Plan_Op<"leave", [HasParent<"EntryOp">, NoTerminator, SingleBlock]> {
  let summary = "if the f32 at this place is at least the call's threshold for exit `number`, runs the steps inside and ends the call";
  let arguments = (ins I64Attr:$number, Plan_PlaceAttr:$confidence);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$number `if` $confidence attr-dict-with-keyword $body";
}
#endif
