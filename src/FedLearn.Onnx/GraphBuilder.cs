using System.Runtime.InteropServices;
using FedLearn.Onnx.Wire;
using Google.Protobuf;
using static FedLearn.Onnx.Wire.TensorProto.Types;

namespace FedLearn.Onnx;

/// <summary>Puts a graph together, one operator after the other; each takes the result of the one before unless told otherwise.</summary>
internal sealed class GraphBuilder(string input)
{
    private readonly GraphProto _graph = new();
    private readonly string _input = input;

    /// <summary>Name of the newest result.</summary>
    public string Last { get; private set; } = input;

    /// <summary>A float64 constant, row-major.</summary>
    public string Constant(string name, double[] values, params long[] shape) => Add(name, DataType.Double, MemoryMarshal.AsBytes<double>(values), shape);

    /// <summary>A float64 constant of no dimension.</summary>
    public string Number(string name, double value) => Constant(name, [value]);

    /// <summary>A constant list of whole numbers.</summary>
    public string Whole(string name, params long[] values) => Add(name, DataType.Int64, MemoryMarshal.AsBytes<long>(values), values.Length);

    /// <summary>Applies an operator to the newest result and more.</summary>
    public string Apply(string operation, params ReadOnlySpan<string> more) => ApplyTo(operation, Last, more);

    /// <summary>Applies an operator to the newest result along an axis that is an attribute.</summary>
    public string ApplyOver(string operation, int axis)
    {
        string result = Apply(operation);
        _graph.Node[^1].Attribute.Add(new AttributeProto { Name = "axes", Ints = { axis }, Type = AttributeProto.Types.AttributeType.Ints });
        return result;
    }

    /// <summary>Applies an operator to a value and more.</summary>
    public string ApplyTo(string operation, string first, params ReadOnlySpan<string> more)
    {
        string name = $"{operation}_{_graph.Node.Count}";
        _graph.Node.Add(new NodeProto { Name = name, OpType = operation, Input = { first, more.ToArray() }, Output = { name } });
        return Last = name;
    }

    /// <summary>The graph, whose newest result is its output.</summary>
    public GraphProto Build(string name, int columns, string output, int outputs)
    {
        _graph.Name = name;
        _graph.Node[^1].Output[0] = output;
        _graph.Input.Add(Value(_input, columns));
        _graph.Output.Add(Value(output, outputs));
        return _graph;
    }

    private string Add(string name, DataType type, ReadOnlySpan<byte> littleEndian, params long[] shape)
    {
        _graph.Initializer.Add(new TensorProto { Name = name, DataType = type, Dims = { shape }, RawData = ByteString.CopyFrom(littleEndian) });
        return name;
    }

    private static ValueInfoProto Value(string name, int columns) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = DataType.Double,
                Shape = new TensorShapeProto
                {
                    Dim = { new TensorShapeProto.Types.Dimension { DimParam = "N" }, new TensorShapeProto.Types.Dimension { DimValue = columns } },
                },
            },
        },
    };
}
