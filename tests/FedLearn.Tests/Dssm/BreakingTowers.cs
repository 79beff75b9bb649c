using FedLearn.Dssm;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm;

/// <summary>Towers that are counted, and may break.</summary>
/// <param name="steps">Training evaluations that a tower survives.</param>
/// <param name="most">Towers that are made; the next one cannot be.</param>
/// <param name="fault">Why rows of a tower depend on each other, as it says of itself; null where they do not.</param>
internal sealed class BreakingTowers(int steps = int.MaxValue, int most = int.MaxValue, string? fault = null) : ITowerFactory
{
    private static readonly ReferenceTowerFactory Towers = new();

    private readonly int _steps = steps;
    private readonly string? _fault = fault;
    private int _made, _alive;

    /// <summary>Called before a tower is made.</summary>
    public Action Creating { get; init; } = () => { };

    /// <summary>Called before an evaluation outside training.</summary>
    public Action Measuring { get; init; } = () => { };

    /// <summary>Called before a training evaluation.</summary>
    public Action Training { get; init; } = () => { };

    /// <summary>What a training evaluation takes instead of the rows that it is asked for.</summary>
    public Func<int[], int[]> Index { get; init; } = index => index;

    /// <summary>Towers asked for so far.</summary>
    public int Made => Volatile.Read(ref _made);

    /// <summary>Towers that were made and that nobody has disposed of.</summary>
    public int Alive => Volatile.Read(ref _alive);

    public ITower Create(TowerSpec spec, long seed)
    {
        Creating();
        return Count(Towers.Create(spec, seed));
    }

    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => Count(Towers.Restore(spec, state));

    private Tower Count(ITower tower)
    {
        if (Interlocked.Increment(ref _made) > most)
            throw new InvalidOperationException("No more towers.");
        Interlocked.Increment(ref _alive);
        return new Tower(this, tower);
    }

    private sealed class Tower(BreakingTowers made, ITower inner) : ITower
    {
        private int _left = made._steps;
        private int _disposed;

        public TowerInputs Inputs => inner.Inputs;

        public int Width => inner.Width;

        public int ParameterCount => inner.ParameterCount;

        public void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training)
        {
            if (training && _left-- == 0)
                throw new InvalidOperationException("The tower breaks.");
            (training ? made.Training : made.Measuring)();
            inner.Forward(rows, training ? made.Index(index.ToArray()) : index, output, training);
        }

        public void Backward(ReadOnlySpan<double> upstream) => inner.Backward(upstream);

        public void GetGradient(Span<double> destination) => inner.GetGradient(destination);

        public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms) => inner.RowGradientNorms(upstream, squaredNorms);

        public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum) => inner.WeightedRowGradients(rowWeights, sum);

        public void Step() => inner.Step();

        public void Step(ReadOnlySpan<double> gradient) => inner.Step(gradient);

        public void GetParameters(Span<double> destination) => inner.GetParameters(destination);

        public void SetParameters(ReadOnlySpan<double> parameters) => inner.SetParameters(parameters);

        public byte[] Save() => inner.Save();

        public byte[] SaveTraining() => inner.SaveTraining();

        public void RestoreTraining(ReadOnlySpan<byte> state) => inner.RestoreTraining(state);

        public IReadOnlyList<string> PrivacyFaults() => made._fault is { } fault ? [fault] : inner.PrivacyFaults();

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _disposed, 1) == 0)
                Interlocked.Decrement(ref made._alive);
            inner.Dispose();
        }
    }
}
