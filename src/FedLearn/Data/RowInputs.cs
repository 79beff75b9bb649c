namespace FedLearn.Data;

/// <summary>What a row brings beside its id and its features.</summary>
internal enum RowInputKind
{
    /// <summary>What is predicted.</summary>
    Label,

    /// <summary>How much the row counts.</summary>
    Weight,

    /// <summary>A known part of the linear predictor.</summary>
    Offset,

    /// <summary>A known factor of the mean; its logarithm is an offset.</summary>
    Exposure,
}

/// <summary>What the rows of a table bring beside ids and features; null for what they do not.</summary>
internal sealed record RowInputs(double[]? Labels = null, double[]? Weights = null, double[]? Offsets = null, bool Exposed = false)
{
    /// <summary>The inputs that a source names, each with its column or file. Labels and weights serve training, so that they are left out where no
    /// labels are needed; offsets are part of a prediction too.</summary>
    internal static IEnumerable<(RowInputKind Kind, string Name)> Named(TableSource source, string? label, bool needLabel)
    {
        if (needLabel && label is not null)
            yield return (RowInputKind.Label, label);
        if (needLabel && source.Weight is not null)
            yield return (RowInputKind.Weight, source.Weight);
        if (source.Offset is not null)
            yield return (RowInputKind.Offset, source.Offset);
        if (source.Exposure is not null)
            yield return (RowInputKind.Exposure, source.Exposure);
    }

    /// <summary>Puts what was read together: an exposure becomes the offset log(exposure), added to an offset that is there.</summary>
    internal static RowInputs Of(IReadOnlyDictionary<RowInputKind, double[]> read)
    {
        double[]? offsets = read.GetValueOrDefault(RowInputKind.Offset);
        if (read.TryGetValue(RowInputKind.Exposure, out double[]? exposures))
            offsets = [.. exposures.Select((exposure, row) => Math.Log(exposure) + (offsets?[row] ?? 0))];
        return new RowInputs(read.GetValueOrDefault(RowInputKind.Label), read.GetValueOrDefault(RowInputKind.Weight), offsets, exposures is not null);
    }

    /// <summary>Refuses a finite value that its kind does not allow.</summary>
    internal static void Check(RowInputKind kind, double value, (double Low, double High)? labelRange, Func<string> place)
    {
        if (IsLegal(kind, value, labelRange))
            return;
        throw kind switch
        {
            RowInputKind.Label => DataErrors.Bad(DataErrors.LabelOutOfRange, place(), "the label is outside its declared range.",
                "Correct the label or declare the range that labels can have by the nature of the data."),
            RowInputKind.Weight => DataErrors.Bad(DataErrors.WeightNegative, place(), "the weight of the row is below 0.",
                "Give 0 to a row that must not count, and a number above 0 to any other."),
            _ => DataErrors.Bad(DataErrors.ExposureNotPositive, place(), "the exposure of the row is not above 0.",
                "Give the time or the number of units that the label was counted over, or leave the row out."),
        };
    }

    /// <summary>Whether a finite value is one that its kind allows.</summary>
    internal static bool IsLegal(RowInputKind kind, double value, (double Low, double High)? labelRange) => kind switch
    {
        RowInputKind.Label => labelRange is not { } ends || (value >= ends.Low && value <= ends.High),
        RowInputKind.Weight => value >= 0,
        RowInputKind.Exposure => value > 0,
        _ => true,
    };
}
