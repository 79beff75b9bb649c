using System.Buffers.Binary;

namespace FedLearn.Dssm;

/// <summary>An optimiser of parameters that lie in one array, for towers of one's own among others; the formulas are those of the towers' optimisers.</summary>
/// <remarks>Not thread-safe.</remarks>
public sealed class ParameterOptimizer
{
    private readonly TowerOptimizer _options;
    private double[] _first = [], _second = [];
    private int _steps;

    /// <summary>Creates an optimiser without history.</summary>
    /// <param name="options">Kind, rate and weight decay.</param>
    public ParameterOptimizer(TowerOptimizer options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
    }

    /// <summary>Steps and moments so far: with them and the parameters a training goes on bit for bit.</summary>
    /// <returns>Bytes for <see cref="Restore(ReadOnlySpan{byte})"/>.</returns>
    public byte[] Save()
    {
        byte[] state = new byte[sizeof(int) + 2 * sizeof(double) * _second.Length];
        BinaryPrimitives.WriteInt32LittleEndian(state, _steps);
        for (int j = 0; j < _second.Length; j++)
        {
            BinaryPrimitives.WriteDoubleLittleEndian(state.AsSpan(sizeof(int) + 2 * sizeof(double) * j), _first[j]);
            BinaryPrimitives.WriteDoubleLittleEndian(state.AsSpan(sizeof(int) + 2 * sizeof(double) * j + sizeof(double)), _second[j]);
        }

        return state;
    }

    /// <summary>Goes on with what <see cref="Save()"/> gave.</summary>
    /// <param name="state">The bytes.</param>
    /// <exception cref="ArgumentException">They are no state of an optimiser; nothing is changed.</exception>
    public void Restore(ReadOnlySpan<byte> state)
    {
        if (state.Length < sizeof(int) || (state.Length - sizeof(int)) % (2 * sizeof(double)) != 0 || BinaryPrimitives.ReadInt32LittleEndian(state) < 0)
            throw new ArgumentException("These bytes are no state of an optimiser.", nameof(state));
        (_first, _second) = (new double[(state.Length - sizeof(int)) / (2 * sizeof(double))], new double[(state.Length - sizeof(int)) / (2 * sizeof(double))]);
        _steps = BinaryPrimitives.ReadInt32LittleEndian(state);
        for (int j = 0; j < _second.Length; j++)
        {
            _first[j] = BinaryPrimitives.ReadDoubleLittleEndian(state[(sizeof(int) + 2 * sizeof(double) * j)..]);
            _second[j] = BinaryPrimitives.ReadDoubleLittleEndian(state[(sizeof(int) + 2 * sizeof(double) * j + sizeof(double))..]);
        }
    }

    /// <summary>Adds moments and steps.</summary>
    internal void Save(Coordination.StateWriter state, string name) =>
        state.Add(name + ".steps", (long)_steps).Add(name + ".first", _first).Add(name + ".second", _second);

    /// <summary>Goes on with what <see cref="Save(Coordination.StateWriter, string)"/> added.</summary>
    internal void Restore(Coordination.StateReader state, string name)
    {
        (_first, _second) = (state.Doubles(name + ".first"), state.Doubles(name + ".second"));
        _steps = state.Integer32(name + ".steps");
        if (_first.Length != _second.Length || _steps < 0)
            throw state.Damaged();
    }

    /// <summary>One step.</summary>
    /// <param name="parameters">Changed in place; as many in every call.</param>
    /// <param name="gradient">Their gradient.</param>
    /// <exception cref="ArgumentException">The lengths differ, or are not those of the first call.</exception>
    public void Step(Span<double> parameters, ReadOnlySpan<double> gradient)
    {
        if (parameters.Length != gradient.Length || (_steps > 0 && _second.Length != parameters.Length))
            throw new ArgumentException("There is not one gradient a parameter.", nameof(gradient));
        if (_steps++ == 0)
            (_first, _second) = (new double[parameters.Length], new double[parameters.Length]);
        double meanScale = 1 - Math.Pow(0.9, _steps), varianceScale = 1 - Math.Pow(0.999, _steps);
        for (int j = 0; j < parameters.Length; j++)
        {
            double g = gradient[j] + _options.WeightDecay * parameters[j];
            switch (_options.Kind)
            {
                case TowerOptimizerKind.Adam:
                    _first[j] = 0.9 * _first[j] + 0.1 * g;
                    _second[j] = 0.999 * _second[j] + 0.001 * g * g;
                    parameters[j] -= _options.Rate * (_first[j] / meanScale) / (Math.Sqrt(_second[j] / varianceScale) + 1e-8);
                    break;
                case TowerOptimizerKind.Adagrad:
                    _second[j] += g * g;
                    parameters[j] -= _options.Rate * g / (Math.Sqrt(_second[j]) + 1e-10);
                    break;
                default:
                    parameters[j] -= _options.Rate * g;
                    break;
            }
        }
    }
}
