namespace FedLearn.Privacy;

/// <summary>Source of the noise of a <see cref="GaussianMechanism"/>.</summary>
/// <remarks>K is round(Z), Z normal with mean 0 and standard deviation 2^24 (<see cref="LatticeScale"/>): a rounded Gaussian. For an
/// integer n, n + round(Z) = round(n + Z): adding K to an integer is exact post-processing of the Gaussian mechanism.</remarks>
public interface INoiseSource
{
    /// <summary>Standard deviation of the noise in lattice steps: 2^24.</summary>
    const int LatticeScale = 1 << 24;

    /// <summary>Largest |K|: 2^29, 32 standard deviations. 32-bit integers therefore never overflow.</summary>
    /// <remarks>A draw beyond it takes this value. That is no post-processing of n + Z, but it moves the distribution by less than 2^-743
    /// in total variation a draw, the probability that |Z| passes 32.</remarks>
    const int Saturation = 32 * LatticeScale;

    /// <summary>Whether the noise protects anything. False for seeded test noise.</summary>
    bool IsSecure { get; }

    /// <summary>Fills a span with independent draws of K.</summary>
    /// <param name="destination">Receives one draw an element, between -<see cref="Saturation"/> and <see cref="Saturation"/>.</param>
    void Fill(Span<int> destination);
}
