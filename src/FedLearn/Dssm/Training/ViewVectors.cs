namespace FedLearn.Dssm;

/// <summary>Vectors of several views for the same samples.</summary>
/// <param name="Views">By view, [samples x k].</param>
/// <param name="Present">By view: which samples have it; null: all.</param>
internal sealed record ViewVectors(IReadOnlyList<double[]> Views, IReadOnlyList<bool[]?> Present)
{
    /// <summary>These views, then others.</summary>
    public ViewVectors Then(ViewVectors others) => new([.. Views, .. others.Views], [.. Present, .. others.Present]);

    /// <summary>Some of the samples.</summary>
    public ViewVectors Slice(int from, int count, int width) =>
        new([.. Views.Select(v => v.AsSpan(from * width, count * width).ToArray())], [.. Present.Select(p => p?[from..(from + count)])]);
}
