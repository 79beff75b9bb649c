namespace FedLearn.Dssm;

/// <summary>An optimiser of parameters that lie in one array, such as <see cref="FusionParameters"/>; the formulas are those of the towers' optimisers.</summary>
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

    /// <summary>Adds moments and steps.</summary>
    internal void Save(Coordination.StateWriter state, string name) =>
        state.Add(name + ".steps", (long)_steps).Add(name + ".first", _first).Add(name + ".second", _second);

    /// <summary>Goes on with what <see cref="Save"/> added.</summary>
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
