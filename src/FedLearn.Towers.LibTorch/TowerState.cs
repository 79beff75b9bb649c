using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Towers.LibTorch;

/// <summary>Saved shipped towers: "FLTOWER" and the format's version 1, precision (0 float32, 1 float64), 32 bytes SHA-256 of what decides the shape of the parameters, seed,
/// number of parameters (int64), the parameters in the order of <see cref="TowerStart"/>, and SHA-256 of everything before it. Numbers are little-endian.</summary>
internal static class TowerState
{
    private const int HeaderLength = 8 + 1 + 32 + 8 + 8, DigestLength = 32;

    private static ReadOnlySpan<byte> Magic => "FLTOWER\u0001"u8;

    /// <summary>The bytes of a tower.</summary>
    internal static byte[] Write(TowerSpec spec, long seed, NativeTower tower)
    {
        double[] parameters = new double[tower.ParameterCount];
        tower.GetParameters(parameters);
        return Write(spec, seed, parameters);
    }

    /// <summary>The bytes of a tower with these parameters.</summary>
    internal static byte[] Write(TowerSpec spec, long seed, double[] parameters)
    {
        int width = Size(spec);
        byte[] state = new byte[checked(HeaderLength + parameters.Length * width + DigestLength)];
        Magic.CopyTo(state);
        state[8] = (byte)spec.Precision;
        Fingerprint(spec).CopyTo(state, 9);
        BinaryPrimitives.WriteInt64LittleEndian(state.AsSpan(41), seed);
        BinaryPrimitives.WriteInt64LittleEndian(state.AsSpan(49), parameters.Length);
        for (int i = 0; i < parameters.Length; i++)
        {
            Span<byte> at = state.AsSpan(HeaderLength + i * width);
            if (width == 4)
                BinaryPrimitives.WriteSingleLittleEndian(at, (float)parameters[i]);
            else
                BinaryPrimitives.WriteDoubleLittleEndian(at, parameters[i]);
        }

        SHA256.HashData(state.AsSpan(0, state.Length - DigestLength), state.AsSpan(state.Length - DigestLength));
        return state;
    }

    /// <summary>Seed and parameters of a saved tower.</summary>
    /// <exception cref="BadInputException">The bytes are not those of such a tower.</exception>
    internal static (long Seed, double[] Parameters) Read(TowerSpec spec, ReadOnlySpan<byte> state)
    {
        if (state.Length < HeaderLength + DigestLength || !state[..7].SequenceEqual(Magic[..7]))
            throw Foreign("The bytes are no saved tower.");
        if (state[7] != Magic[7])
            throw Foreign($"The format is of version {state[7]}; this release reads {Magic[7]}.");
        if (!SHA256.HashData(state[..^DigestLength]).AsSpan().SequenceEqual(state[^DigestLength..]))
            throw Foreign("The bytes are cut short or were changed.");
        int count = TowerStart.Count(spec), width = Size(spec);
        if (state[8] != (byte)spec.Precision || !state.Slice(9, 32).SequenceEqual(Fingerprint(spec)))
            throw Foreign("They are those of a tower with other inputs, layers or precision.");
        if (BinaryPrimitives.ReadInt64LittleEndian(state[49..]) != count || state.Length != HeaderLength + (long)count * width + DigestLength)
            throw Foreign("The number of parameters is another.");
        double[] parameters = new double[count];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> at = state[(HeaderLength + i * width)..];
            parameters[i] = width == 4 ? BinaryPrimitives.ReadSingleLittleEndian(at) : BinaryPrimitives.ReadDoubleLittleEndian(at);
            if (!double.IsFinite(parameters[i]))
                throw Foreign("A parameter is NaN or infinite.");
        }

        return (BinaryPrimitives.ReadInt64LittleEndian(state[41..]), parameters);
    }

    /// <summary>The error of foreign bytes.</summary>
    internal static BadInputException Foreign(string cause, Exception? inner = null) =>
        new(LibTorchErrors.ForeignState, "saved tower", cause, "Give the bytes that this tower's Save gave, and the same specification.", inner);

    private static int Size(TowerSpec spec) => spec.Precision == TowerPrecision.Float32 ? 4 : 8;

    // Dropout, rate and optimiser may change between trainings; what a parameter means may not.
    private static byte[] Fingerprint(TowerSpec spec)
    {
        var text = new StringBuilder();
        text.Append(null, $"dense {spec.Inputs.DenseWidth}\n");
        foreach (BagField bag in spec.Inputs.Bags)
            text.Append(null, $"bag {bag.Buckets} {(int)bag.Pooling} {bag.Name.Length} {bag.Name}\n");
        text.Append(null, $"layers {string.Join(' ', spec.Layers)}\nactivation {(int)spec.Activation}\nnorm {(spec.LayerNorm ? 1 : 0)}\n");
        return SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString()));
    }
}
